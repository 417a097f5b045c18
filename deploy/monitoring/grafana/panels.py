"""What the Grafana dashboards of ACIE show: every panel's title, queries, unit and meaning.

Queries are of the recording rules where there is one, so that dashboards and alerts cannot
disagree. ``$instance`` is the choice at the top of a dashboard.
"""

__all__ = ["DASHBOARDS", "Board", "Panel"]

from dataclasses import dataclass, field

_ALL = 'job="acie"'
_ONE = 'job="acie", instance=~"$instance"'


def _rate(metric: str, by: str = "", where: str = _ONE) -> str:
    """A counter per second; summed over all labels but those given."""
    rate = f"rate({metric}{{{where}}}[$__rate_interval])"
    return f"sum by ({by}) ({rate})" if by else rate


@dataclass(frozen=True)
class Panel:
    """One panel.

    Arguments:
        title: Its title.
        queries: PromQL by legend.
        unit: Grafana's name of the unit.
        text: What a reader should know.
        kind: ``lines``, ``stack``, ``number``, ``bars`` or ``heat``.
        limits: Values from which the colour is orange, then red; where low is bad, falling.
        most: End of the axis, where it is known.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    text: str = ""
    kind: str = "lines"
    limits: tuple[float, ...] = ()
    most: float | None = None


@dataclass(frozen=True)
class Board:
    """One dashboard: panels by the title of their row."""

    uid: str
    title: str
    text: str
    rows: dict[str, list[Panel]] = field(default_factory=dict)


_NOW = [
    Panel("Instances up", {"": 'sum(up{job="acie"})'}, kind="number", limits=(2, 1),
          text="Targets of the job acie that Prometheus reaches."),
    Panel("Ready", {"": 'sum(acie_ready{job="acie"})'}, kind="number", limits=(2, 1),
          text="Instances that take questions."),
    Panel("Questions per second", {"": "job:acie_inference_requests:rate5m"}, "reqps",
          kind="number"),
    Panel("Median latency", {"": "job:acie_inference_latency_seconds:p50_rate5m"}, "s",
          kind="number", limits=(1, 2), text="From question to answer, over five minutes."),
    Panel("99 % latency", {"": "job:acie_inference_latency_seconds:p99_rate5m"}, "s",
          kind="number", limits=(2, 10), text="From question to answer, over five minutes."),
    Panel("Calls that fail", {"": "job:acie_calls:error_ratio_rate1h"}, "percentunit",
          kind="number", limits=(0.005, 0.072),
          text="For no fault of the caller, over an hour. The objective is below 0.5 %."),
    Panel("Queue", {"": "job:acie_queue:fill_ratio"}, "percentunit", kind="number",
          limits=(0.5, 0.9), text="Galaxies that wait, of those that may."),
    Panel("Alerts", {"": 'count(ALERTS{alertstate="firing"}) or vector(0)'}, kind="number",
          limits=(1, 3), text="Alerts that fire in this Prometheus."),
]  # fmt: skip

OVERVIEW = Board(
    "acie-overview", "ACIE: overview", "Is the service well, and who asks it what?",
    {
        "Now": _NOW,
        "Questions": [
            Panel("Questions by outcome",
                  {"{{outcome}}": "job_outcome:acie_inference_requests:rate5m"}, "reqps",
                  "ok, or the kind of the problem as in its document.", "stack"),
            Panel("Latency", {
                "50 %": "job:acie_inference_latency_seconds:p50_rate5m",
                "90 %": "job:acie_inference_latency_seconds:p90_rate5m",
                "99 %": "job:acie_inference_latency_seconds:p99_rate5m",
            }, "s", "From question to answer, interpolated in the buckets of the histogram."),
            Panel("Distribution of the latency", {
                "{{le}}": _rate("acie_inference_latency_seconds_bucket", "le", _ALL),
            }, "s", "Questions per second in each bucket.", "heat"),
            Panel("Slower than two seconds", {
                "5 minutes": "job:acie_inference_latency_seconds:slow_ratio_rate5m",
                "1 hour": "job:acie_inference_latency_seconds:slow_ratio_rate1h",
                "6 hours": "job:acie_inference_latency_seconds:slow_ratio_rate6h",
            }, "percentunit", "The objective is below 5 %.", limits=(0.05, 0.72)),
        ],
        "Calls": [
            Panel("Calls by status", {
                "{{transport}} {{status}}":
                    _rate("acie_calls_total", "transport, status", f'{_ALL}, kind="call"'),
            }, "reqps", "Refused ones too; probes are left out.", "stack"),
            Panel("Calls that fail", {
                "5 minutes": "job:acie_calls:error_ratio_rate5m",
                "1 hour": "job:acie_calls:error_ratio_rate1h",
                "6 hours": "job:acie_calls:error_ratio_rate6h",
            }, "percentunit", "7.2 % of an hour, or 3 % of six, is what alerts tell of.",
                limits=(0.03, 0.072)),
            Panel("Load", {
                "calls at a time": "job:acie_in_flight:fill_ratio",
                "queue": "job:acie_queue:fill_ratio",
                "engine busy": "job:acie_engine:busy_ratio_rate5m",
            }, "percentunit", "Of what is allowed; of the time for the engine.", limits=(0.5, 0.9),
                most=1.0),
            Panel("Instances", {"{{instance}}": 'up{job="acie"}'},
                  text="1 while Prometheus reaches it.", most=1.0),
        ],
    },
)  # fmt: skip

SCIENCE = Board(
    "acie-science", "ACIE: quality of the answers", "Can the answers be relied on?",
    {
        "Confidence": [
            Panel("Mean confidence", {"{{model}}": "job_model:acie_confidence:mean_rate15m"},
                  text="Efficiency of importance sampling: at most one.", most=1.0),
            Panel("Confidence of 0.1 or less",
                  {"{{model}}": "job_model:acie_confidence:low_ratio_rate15m"}, "percentunit",
                  "Share of answers that are not to be relied on.", limits=(0.2, 0.5), most=1.0),
            Panel("Distribution of the confidence", {
                "{{le}}": _rate("acie_confidence_bucket", "le", _ALL),
            }, "short", "Answers per second in each tenth.", "heat"),
            Panel("Quality flags", {"{{flag}}": "job_flag:acie_quality_flags:ratio_rate15m"},
                  "percentunit", "Share of answers that carry the flag; see docs/trust.md."),
        ],
        "Population": [
            Panel("Drift", {"{{variable}}": "job_variable:acie_posterior_drift:max"},
                  text="Population stability index against the training population: 0.1 is worth "
                  "a look, 0.25 is other galaxies.", limits=(0.1, 0.25)),
            Panel("Drift now",
                  {"{{variable}}": "sort_desc(job_variable:acie_posterior_drift:max)"},
                  kind="bars", text="The variables that differ most.", limits=(0.1, 0.25)),
        ],
        "Models": [
            Panel("What was measured of the models",
                  {"{{model}} {{version}} {{metric}}":
                       f"max by (model, version, metric) (acie_model_accuracy{{{_ALL}}})"},
                  kind="bars", text="From the manifest of the bundle."),
            Panel("Questions by model", {
                "{{model}}": _rate("acie_inference_requests_total", "model", _ALL),
            }, "reqps", "unknown: the question named no model that there is.", "stack"),
        ],
    },
)  # fmt: skip

INTERNALS = Board(
    "acie-internals", "ACIE: inside the service", "Where does the time go, and what is short?",
    {
        "Engine": [
            Panel("Parts of an answer", {"{{stage}}": "job_stage:acie_stage_seconds:mean_rate5m"},
                  "s", "Mean time of each part.", "stack"),
            Panel("Engine busy", {
                "{{instance}}": _rate("acie_batch_seconds_sum"),
            }, "percentunit", "Share of the time that an engine computes.", limits=(0.7, 0.9),
                most=1.0),
            Panel("Galaxies per batch", {"mean": "job:acie_batch_size:mean_rate5m"},
                  text="Grows by itself under load."),
            Panel("Galaxies that wait", {
                "{{instance}}": f"acie_queue_depth{{{_ONE}}}",
                "may wait": f"max(acie_queue_capacity{{{_ONE}}})",
            }, text="More than may wait is answered with 503."),
            Panel("Calls at a time", {
                "{{instance}}": f"acie_in_flight{{{_ONE}}}",
                "limit": f"max(acie_in_flight_limit{{{_ONE}}})",
            }),
        ],
        "Cache": [
            Panel("Where answers come from", {
                "{{source}}": _rate("acie_cache_requests_total", "source"),
            }, "reqps", "shared: asked by several at the same time.", "stack"),
            Panel("Answers that were there", {"": "job:acie_cache:hit_ratio_rate5m"},
                  "percentunit", most=1.0),
            Panel("Cache and database answer", {
                "{{dependency}} of {{instance}}": f"acie_dependency_up{{{_ONE}}}",
            }, text="1 while it answered the last look.", most=1.0),
        ],
        "Log of inferences": [
            Panel("Records", {
                "{{outcome}}": _rate("acie_database_records_total", "outcome"),
            }, "wps", "dropped: the buffer was full; refused: by the database."),
            Panel("Records to be written", {
                "{{instance}}": f"acie_database_buffer_records{{{_ONE}}}",
            }, text="Grows while the database is away."),
        ],
        "Registry": [
            Panel("Looks at followed aliases", {
                "{{outcome}}": _rate("acie_registry_polls_total", "outcome"),
            }, "ops"),
            Panel("Behind", {"{{instance}}": f"acie_registry_behind{{{_ONE}}}"},
                  text="1 while an alias may mean another model.", most=1.0),
        ],
        "Processes": [
            Panel("Memory", {"{{instance}}": f"process_resident_memory_bytes{{{_ONE}}}"}, "bytes"),
            Panel("Processors", {
                "{{instance}}": _rate("process_cpu_seconds_total"),
            }, text="Processors that are busy."),
            Panel("Open files", {
                "{{instance}}": f"process_open_fds{{{_ONE}}} / process_max_fds{{{_ONE}}}",
            }, "percentunit", "Of those allowed.", most=1.0),
            Panel("Age", {"{{instance}}": f"time() - process_start_time_seconds{{{_ONE}}}"}, "s",
                  "Falls to zero when the process starts again."),
            Panel("Versions", {
                "{{version}}, Python {{python}}, torch {{torch}}":
                    f"count by (version, python, torch) (acie_build_info{{{_ONE}}})",
            }, kind="bars", text="Instances of each."),
        ],
    },
)  # fmt: skip

GPU = Board(
    "acie-gpu", "ACIE: GPUs", "Empty where there is no GPU; the second row is of NVIDIA's DCGM.",
    {
        "As the service sees them": [
            Panel("Busy", {
                "{{instance}} {{device}}": f"acie_gpu_utilization_percent{{{_ONE}}}",
            }, "percent", most=100.0),
            Panel("Engine busy", {
                "{{instance}}": _rate("acie_batch_seconds_sum"),
            }, "percentunit", "Share of the time that an engine computes.", most=1.0),
        ],
        "DCGM exporter": [
            Panel("Busy", {"{{Hostname}} {{gpu}}": "DCGM_FI_DEV_GPU_UTIL"}, "percent", most=100.0),
            Panel("Memory", {
                "{{Hostname}} {{gpu}}":
                    "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
            }, "percentunit", limits=(0.8, 0.95), most=1.0),
            Panel("Temperature", {"{{Hostname}} {{gpu}}": "DCGM_FI_DEV_GPU_TEMP"}, "celsius",
                  limits=(80, 88)),
            Panel("Power", {"{{Hostname}} {{gpu}}": "DCGM_FI_DEV_POWER_USAGE"}, "watt"),
            Panel("Clock", {"{{Hostname}} {{gpu}}": "DCGM_FI_DEV_SM_CLOCK * 1e6"}, "hertz"),
            Panel("Errors (Xid)", {"{{Hostname}} {{gpu}}": "DCGM_FI_DEV_XID_ERRORS"},
                  text="Number of the last error; none is 0.", limits=(1, 1)),
        ],
    },
)  # fmt: skip

DASHBOARDS = (OVERVIEW, SCIENCE, INTERNALS, GPU)
