"""Two evaluations side by side."""

__all__ = ["compare"]

from collections.abc import Iterator, Mapping
from typing import Any

_NUMBERS = {
    "importance efficiency, median": ("efficiency", "median"),
    "coverage of counterfactual spectra (68 %)": ("counterfactual_coverage_68",),
    "coverage of effects (68 %)": ("counterfactual_effect_coverage_68",),
    "coverage of counterfactual states (68 %)": ("counterfactual_state_coverage_68",),
    "TARP, largest deviation": ("tarp", "largest_deviation"),
    "galaxies": ("count",),
    "S/N (none: the survey's)": ("settings", "snr"),
    "draws per galaxy": ("settings", "samples"),
}


def compare(
    first: Mapping[str, Any] | None, second: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Rows with ``name``, ``a`` and ``b``: verdicts as texts, everything else as numbers.

    Arguments:
        first: An evaluation; None where there is none.
        second: The other one.
    """
    tables = [dict(_rows(report)) if report is not None else {} for report in (first, second)]
    names = dict.fromkeys([*tables[0], *tables[1]])
    return [{"name": n, "a": tables[0].get(n), "b": tables[1].get(n)} for n in names]


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for row in report["verdicts"]:
        # The number of questions or objects is part of the text, and no part of the name.
        yield row["criterion"].partition(", worst of")[0].partition(" at ")[0], row["verdict"]
    for name, path in _NUMBERS.items():
        found: Any = report
        for key in path:
            found = found[key]
        yield name, found
    for name, facts in report["recovery"].items():
        unit = f", {facts['unit']}" if facts["unit"] else ""
        yield f"scatter of {name}{unit}", facts["scatter"]
        yield f"bias of {name}{unit}", facts["bias"]
