"""The live page of ``acie monitor`` in a terminal."""

__all__ = ["MonitorApp"]

import time
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Footer, Static

from acie.monitoring.sections import Section, duration, sections
from acie.monitoring.snapshot import Recent
from acie.monitoring.source import Source, Unreachable


class _Scale(NamedTuple):
    """What a curve shows, in words with the largest value, and the end of its axis."""

    label: str
    most: float | None = None


#: Parts with a curve.
_CURVES = {
    "latency": _Scale("p99, up to {:.0f} ms"),
    "requests": _Scale("per second, up to {:.2g}"),
    "queue": _Scale("waiting, up to {:.0f}"),
    "confidence": _Scale("mean, of 1", 1.0),
}
#: Parts in the order of the page; those without a curve have text only.
_PARTS = ("latency", "requests", "queue", "confidence", "cache", "models", "alerts")
#: Seconds between looks that + and - choose among.
_PACES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

_HELP = """\
[b]acie monitor[/b]

Numbers are those of GET /api/metrics of one instance: latencies
of the last five minutes, counts since its start. Curves are what
this page saw.

  [b]q[/b]        leave
  [b]p[/b]        pause, and go on
  [b]r[/b]        look now
  [b]+ -[/b]      look more often, less often
  [b]up down[/b]  scroll the alerts
  [b]?[/b]        this page; any key closes it

Frames are green where all is well, yellow where it is worth a
look, red where somebody should act: see docs/runbooks.md.
"""


class _Help(ModalScreen[None]):
    """Which key does what."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close", show=False)]

    def compose(self) -> ComposeResult:
        yield Static(_HELP, id="help")

    def on_key(self) -> None:
        self.dismiss()


class _Curve(Widget):
    """Values over time, the newest on the right, from zero up to a fixed or to the largest one."""

    _EIGHTHS = " ▁▂▃▄▅▆▇█"

    def __init__(self, most: float | None = None) -> None:
        super().__init__(classes="curve")
        self._most, self._values = most, []

    def draw(self, values: list[float]) -> None:
        """Show other values."""
        self._values = values
        self.refresh()

    def render(self) -> Text:
        """As many of the newest values as there is room for."""
        width, height = self.size.width, self.size.height
        shown = self._values[-width:] if width else []
        top = self._most or max(shown, default=0.0)
        steps = [round(8 * height * min(v / top, 1.0)) if top > 0 else 0 for v in shown]
        # What is not zero is seen.
        steps = [max(n, 1) if v > 0 else n for n, v in zip(steps, shown, strict=True)]
        rows = (
            "".join(self._EIGHTHS[min(max(n - 8 * row, 0), 8)] for n in steps)
            for row in reversed(range(height))
        )
        return Text("\n".join(row.rjust(width) for row in rows), no_wrap=True)


class _Part(Container):
    """One framed part of the page."""

    def __init__(self, key: str) -> None:
        super().__init__(id=key, classes="part curved" if key in _CURVES else "part")
        self.border_title = key.capitalize()
        self._text = Static(classes="text", markup=False)
        self._curve = _Curve(_CURVES[key].most) if key in _CURVES else None

    def compose(self) -> ComposeResult:
        yield self._text
        if self._curve is not None:
            yield self._curve

    def show(self, section: Section) -> None:
        """Put a section into the frame."""
        self.border_title = section.title
        self._text.update("\n".join(section.lines))
        for state in ("good", "odd", "bad"):
            self.set_class(section.state == state, state)

    def draw(self, values: list[float]) -> None:
        """Draw the curve."""
        if self._curve is not None:
            self._curve.draw(values)
            self.border_subtitle = _CURVES[self.id or ""].label.format(max(values, default=0.0))


class MonitorApp(App[None]):
    """Looks at a service every few seconds, and goes on when the service goes away.

    Arguments:
        source: The service.
        every_s: Seconds between looks.
    """

    CSS = """
    #page { layout: vertical; height: 1fr; }
    #head { height: 1; padding: 0 1; background: $panel; }
    #grid { layout: grid; grid-size: 2; grid-rows: 1fr; height: 1fr; }
    .part { border: round $success; border-title-style: bold; padding: 0 1; height: 100%; }
    .part.odd { border: round $warning; }
    .part.bad { border: round $error; }
    .text { height: auto; }
    .-narrow .curved .text { text-wrap: nowrap; text-overflow: ellipsis; }
    .curve { height: 1fr; min-height: 1; color: $primary-lighten-1; }
    #alerts-box { height: 5; }
    #alerts { height: auto; min-height: 100%; border: round $success; padding: 0 1; }
    .gone .part { border: round $foreground 30%; color: $text-muted; }
    .-wide #grid { grid-size: 3; }
    .-wide #alerts-box { height: 25%; }
    #help { width: 76; height: auto; padding: 1 2; border: round $accent; background: $surface; }
    _Help { align: center middle; background: $background 60%; }
    """
    TITLE = "acie monitor"
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-narrow"), (120, "-wide")]
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Leave"),
        Binding("p", "pause", "Pause"),
        Binding("r", "look", "Look now"),
        Binding("plus,equals_sign", "pace(-1)", "More often", key_display="+"),
        Binding("minus", "pace(1)", "Less often", key_display="-"),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]

    def __init__(self, source: Source, every_s: float = 2.0) -> None:
        super().__init__()
        self._source, self._every_s = source, every_s
        self.recent = Recent()
        self._paused, self._trouble, self._lost_at = False, "", None
        self._begun = time.monotonic()
        # Held here, because a search finds only what is on the topmost screen.
        self._head = Static(id="head", markup=False)
        self._page = Container(id="page")
        self._parts = {key: _Part(key) for key in _PARTS}

    def compose(self) -> ComposeResult:
        """The parts of the page."""
        yield self._head
        with self._page:
            with Container(id="grid"):
                yield from (self._parts[key] for key in _PARTS[:-1])
            with VerticalScroll(id="alerts-box"):
                yield self._parts["alerts"]
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._timer = self.set_interval(self._every_s, self._tick)
        self.set_interval(1.0, self._show_head)
        self._show_head()
        self._tick()

    async def on_unmount(self) -> None:
        """Let go of the service."""
        await self._source.close()

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self._paused = not self._paused
        self._show_head()

    def action_look(self) -> None:
        """Look now."""
        self.run_worker(self._look(), exclusive=True)

    def action_pace(self, step: int) -> None:
        """Look more often or less often."""
        place = min(range(len(_PACES)), key=lambda i: abs(_PACES[i] - self._every_s))
        self._every_s = _PACES[min(max(place + step, 0), len(_PACES) - 1)]
        self._timer.stop()
        self._timer = self.set_interval(self._every_s, self._tick)
        self._show_head()

    def action_help(self) -> None:
        """Say which key does what."""
        self.push_screen(_Help())

    def _tick(self) -> None:
        # A look that is under way is not cut short by the next one.
        if not self._paused and not any(not one.is_finished for one in self.workers):
            self.run_worker(self._look())

    async def _look(self) -> None:
        try:
            snapshot = await self._source.look()
        except Unreachable as error:
            self._trouble = f"{error.found}. {error.remedy}"
            self._lost_at = self._lost_at or time.monotonic()
        else:
            self.recent.add(snapshot)
            self._trouble, self._lost_at = "", None
            self._show_parts()
        self._show_head()

    def _show_parts(self) -> None:
        for section in sections(self.recent.last):
            self._parts[section.key].show(section)
        curves = {
            "latency": self.recent.series("latency_ms", "p99"),
            "requests": self.recent.rates("requests", "total"),
            "queue": self.recent.series("queue", "depth"),
            "confidence": self.recent.confidences(),
        }
        for key, values in curves.items():
            self._parts[key].draw(values)

    def _show_head(self) -> None:
        """What the service is, and whether it answers."""
        self._page.set_class(bool(self._trouble), "gone")
        last = self.recent.last
        text = Text(overflow="ellipsis", no_wrap=True)
        if self._trouble:
            gone = duration(time.monotonic() - (self._lost_at or self._begun))
            text.append(f"✗ {self._source.url} for {gone}: ", "bold red")
            text.append(self._trouble)
        elif last is None:
            text.append(f"… asking {self._source.url}")
        else:
            text.append("● ", "bold green")
            text.append(f"ACIE {last.body.get('version', '')} ", "bold")
            up = duration(last.number("uptime_s") or 0.0)
            text.append(f"{self._source.url}   up {up}   every {self._every_s:g} s")
        if self._paused:
            text.append("   PAUSED", "bold yellow")
        self._head.update(text)
