"""Write the Grafana dashboards again: ``python deploy/monitoring/grafana/make_dashboards.py``.

What they show is in ``panels.py``; a test fails when the committed JSON is not what this writes.
Needs grafana-foundation-sdk, of which Grafana 11.6 reads the result.
"""

__all__ = ["FOLDER", "dashboards", "main"]

import itertools
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from panels import DASHBOARDS, Board, Panel  # noqa: E402

FOLDER = HERE / "dashboards"
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_GOOD, _ODD, _BAD = "green", "orange", "red"


def main() -> None:
    """Write all of them."""
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(FOLDER / name)  # noqa: T201


def dashboards() -> dict[str, str]:
    """The dashboards as JSON, by file name."""
    return {f"{board.uid}.json": _json(board) for board in DASHBOARDS}


def _json(board: Board) -> str:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags(["acie"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("ACIE")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["acie"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    panels = itertools.chain.from_iterable(board.rows.values())
    if any("$instance" in query for panel in panels for query in panel.queries.values()):
        made = made.with_variable(
            dashboard.QueryVariable("instance")
            .label("Instance")
            .datasource(_SOURCE)
            .query('label_values(acie_build_info{job="acie"}, instance)')
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".+")
        )
    number = itertools.count(1)
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title).id(next(number)))
        for panel in panels:
            made = made.with_panel(_panel(panel).id(next(number)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _panel(panel: Panel) -> object:
    made = {
        "number": _number, "bars": _bars, "heat": _heat, "lines": _lines, "stack": _lines,
    }[panel.kind](panel)  # fmt: skip
    made = made.title(panel.title).description(panel.text).datasource(_SOURCE).unit(panel.unit)
    if panel.most is not None:
        made = made.max(panel.most)
    if panel.limits:
        made = made.thresholds(_limits(panel.limits))
    for number, (legend, query) in enumerate(panel.queries.items()):
        target = prometheus.Dataquery().expr(query).ref_id(chr(ord("A") + number))
        target = target.legend_format(legend or "__auto")
        if panel.kind in ("number", "bars"):
            target = target.instant()
        elif panel.kind == "heat":
            target = target.format(_heat_format())
        made = made.with_target(target)
    return made


def _number(panel: Panel) -> stat.Panel:
    return (
        stat.Panel().span(3).height(4)
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )  # fmt: skip


def _bars(panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel().span(12).height(8).min(0)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )  # fmt: skip


def _heat(panel: Panel) -> heatmap.Panel:
    return heatmap.Panel().span(12).height(8).calculate(False)


def _heat_format() -> object:
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    return PromQueryFormat.HEATMAP


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel().span(12).height(8).min(0).line_width(1)
        .fill_opacity(25 if panel.kind == "stack" else 0)
        .legend(
            common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.TABLE)
            .placement(kinds.LegendPlacement.RIGHT).show_legend(True).calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
    )  # fmt: skip
    if panel.kind == "stack":
        made = made.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if panel.limits:
        made = made.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        )
    return made


def _limits(limits: tuple[float, ...]) -> dashboard.ThresholdsConfig:
    odd, bad = limits
    if odd >= bad > 0 and odd != bad:  # low values are bad
        steps = [(None, _BAD), (bad, _ODD), (odd, _GOOD)]
    else:
        steps = [(None, _GOOD), (odd, _ODD), (bad, _BAD)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(
        [models.Threshold(value=value, color=colour) for value, colour in steps]
    )


if __name__ == "__main__":
    main()
