"""A look at a service in words: the same for ``acie monitor --once`` and for the live page."""

__all__ = ["Section", "duration", "sections"]

from dataclasses import dataclass

from acie.monitoring.snapshot import Alert, Snapshot

_NOTHING = "–"
#: Population stability index from which a variable is worth a look, and from which it is bad.
_DRIFT = (0.1, 0.25)


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Arguments:
        key: Its name in the program.
        title: Its name for people.
        lines: What it says.
        state: ``good``, ``odd`` or ``bad``.
    """

    key: str
    title: str
    lines: tuple[str, ...]
    state: str = "good"


def sections(snapshot: Snapshot) -> list[Section]:
    """All parts of the page, in order."""
    return [
        _latency(snapshot), _requests(snapshot), _queue(snapshot), _confidence(snapshot),
        _cache(snapshot), _models(snapshot), _alerts(snapshot),
    ]  # fmt: skip


def duration(seconds: float) -> str:
    """As people say it: ``3 h 5 min``."""
    seconds = int(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for name, length in units:
        count, seconds = divmod(seconds, length)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def _latency(snapshot: Snapshot) -> Section:
    names = ("p50", "p90", "p99")
    shown = "  ".join(f"{name} {_ms(snapshot.number('latency_ms', name))}" for name in names)
    stages = sorted(snapshot.table("stages_ms").items(), key=lambda one: -one[1])
    parts = [f"{name} {_brief(value)}" for name, value in stages]
    slow = snapshot.number("latency_ms", "p99") or 0.0
    state = "good" if slow < 2e3 else "odd" if slow < 1e4 else "bad"
    return Section("latency", "Latency", (shown, f"ms: {', '.join(parts) or _NOTHING}"), state)


def _requests(snapshot: Snapshot) -> Section:
    total = snapshot.number("requests", "total") or 0.0
    speed = snapshot.number("requests", "per_second")
    outcomes = snapshot.table("requests", "outcomes")
    others = sorted(((n, k) for k, n in outcomes.items() if k != "ok"), reverse=True)
    said = ", ".join(f"{kind} {count:,}" for count, kind in others)
    # What is nobody's fault but the service's.
    own = {"internal-error", "overloaded", "too-late", "storage-unavailable"}
    state = "odd" if any(kind in own for _, kind in others) else "good"
    lines = (f"{_brief(speed)} per second   {total:,.0f} in all", f"ok {outcomes.get('ok', 0):,}"
             + (f", {said}" if said else ""))  # fmt: skip
    return Section("requests", "Questions", lines, state)


def _queue(snapshot: Snapshot) -> Section:
    depth, most = snapshot.number("queue", "depth"), snapshot.number("queue", "capacity")
    full = (depth or 0.0) / most if most else 0.0
    bar = "█" * round(12 * min(full, 1.0))
    batch = snapshot.number("batches", "mean_size")
    first = f"{bar:░<12} {_brief(depth)} of {_brief(most)} wait"
    now = _brief(snapshot.number("requests", "in_flight"))
    second = f"calls now: {now}   batches of {_brief(batch)}"
    gpus = snapshot.table("gpu_utilization_percent")
    busy = "".join(f"   GPU {name} {value:.0f} %" for name, value in gpus.items())
    state = "good" if full < 0.5 else "odd" if full < 0.9 else "bad"
    return Section("queue", "Queue", (first, second + busy), state)


def _confidence(snapshot: Snapshot) -> Section:
    mean = snapshot.number("answers", "confidence_mean")
    low = snapshot.number("answers", "confidence_low_share")
    flags = snapshot.table("quality_flags")
    said = ", ".join(f"{n} {c:,}" for n, c in sorted(flags.items(), key=lambda one: -one[1]))
    state = "good" if low is None or low < 0.2 else "odd" if low < 0.5 else "bad"
    first = f"mean {_share(mean)}   0.1 or less: {_percent(low)}"
    return Section("confidence", "Confidence", (first, f"flags: {said or 'none'}"), state)


def _cache(snapshot: Snapshot) -> Section:
    ratio = snapshot.number("cache", "hit_ratio")
    sources = {k: v for k, v in snapshot.table("cache").items() if k != "hit_ratio"}
    up = snapshot.table("dependencies")
    down = [name for name, well in up.items() if not well]
    said = "   ".join(f"{name} {'up' if well else 'DOWN'}" for name, well in up.items())
    waiting = snapshot.number("database", "waiting") or 0.0
    lost = snapshot.number("database", "dropped") or 0.0
    tail = f"   {waiting:.0f} to write" if waiting else ""
    tail += f"   {lost:.0f} LOST" if lost else ""
    lines = (
        f"{_percent(ratio)} there: "
        + ", ".join(f"{name} {_brief(count)}" for name, count in sources.items()),
        f"{said or _NOTHING}{tail}",
    )
    return Section("cache", "Cache and database", lines, "bad" if down or lost else "good")


def _models(snapshot: Snapshot) -> Section:
    lines, worst = [], 0.0
    for model in snapshot.models:
        drift = model.get("drift") or {}
        text = f"{model.get('name')} version {model.get('version')}"
        if drift:
            name, value = max(drift.items(), key=lambda one: one[1])
            worst = max(worst, value)
            text += f"   drift {value:.2f} ({name})"
        lines.append(text)
    state = "bad" if worst >= _DRIFT[1] else "odd" if worst >= _DRIFT[0] else "good"
    return Section("models", "Models", tuple(lines) or ("none is loaded",), state)


def _alerts(snapshot: Snapshot) -> Section:
    if snapshot.alerts is None:
        text = snapshot.trouble or "not asked: name Alertmanager or Prometheus with --alerts"
        return Section("alerts", "Alerts", (text,), "odd" if snapshot.trouble else "good")
    if not snapshot.alerts:
        return Section("alerts", "Alerts", ("none fires",))
    worst = "bad" if any(a.severity == "critical" for a in snapshot.alerts) else "odd"
    return Section("alerts", "Alerts", tuple(_alert(one) for one in snapshot.alerts), worst)


def _alert(alert: Alert) -> str:
    hidden = " (silenced)" if alert.silenced else ""
    return f"{alert.severity or 'alert'}{hidden}: {alert.name}: {alert.summary or _NOTHING}"


def _ms(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value / 1e3:.3g} s" if value >= 1e3 else f"{value:.3g} ms"


def _brief(value: float | None) -> str:
    if value is None:
        return _NOTHING
    value = float(value)
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.0f} %"
