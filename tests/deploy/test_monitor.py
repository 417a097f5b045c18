"""``acie monitor`` against a real service, which goes away and comes back."""

import asyncio
import contextlib
import http.server
import io
import json
import signal
import socket
import threading

import httpx
import pytest
from observers import until
from processes import Served, question

from acie.cli import main
from acie.monitoring import Alert, Snapshot, Source, Unreachable, sections
from acie.monitoring.snapshot import Recent
from acie.monitoring.terminal import MonitorApp

TOKEN = "acie_" + "x" * 43


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A service that was asked three questions."""
    folder = tmp_path_factory.mktemp("monitored")
    with Served(folder, ACIE_TELEMETRY__CHECK_S="0.3") as one:
        path = f"{one.url}/api/v2/inference/counterfactual"
        for body in (question(samples=2), question(samples=2), question() | {"hold": ["nix"]}):
            httpx.post(path, json=body, timeout=120.0)
        until(lambda: httpx.get(f"{one.url}/api/metrics").json()["dependencies"], "a first look")
        yield one


async def seen(pilot, condition, patience_s: float = 60.0) -> None:
    """Wait until the page is as it should be."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await pilot.pause(0.1)


def text_of(app: MonitorApp, key: str) -> str:
    return str(app._parts[key]._text.content)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_the_page_shows_the_service_at_every_size(served, size):
    async def check():
        app = MonitorApp(Source(served.url), 0.3)
        async with app.run_test(size=size) as pilot:
            await seen(pilot, lambda: "galaxy-v1" in text_of(app, "models"))
            assert "3 in all" in text_of(app, "requests")
            assert "unknown-variable 1" in text_of(app, "requests")
            assert "p50" in text_of(app, "latency")
            assert "50 % there" in text_of(app, "cache")
            assert "database up" in text_of(app, "cache")
            assert "mean 0." in text_of(app, "confidence")
            assert served.url in str(app._head.content)
            for part in app._parts.values():
                region = part.region
                assert region.width >= 38
                assert region.height >= 3
                assert region.right <= size[0]
                # Nothing is below the lower edge but what can be scrolled to.
                assert region.bottom <= size[1] - 1 or part.id == "alerts"
                assert part._text.region.height >= 1
            await seen(pilot, lambda: len(app.recent.series("uptime_s")) >= 3)
            svg = app.export_screenshot()
            assert "Confidence" in svg
            assert "galaxy-v1" in svg.replace("&#160;", " ")

    asyncio.run(check())


def test_keys(served):
    async def check():
        app = MonitorApp(Source(served.url), 1.0)
        async with app.run_test(size=(80, 24)) as pilot:
            await seen(pilot, lambda: app.recent.last is not None)
            await pilot.press("question_mark")
            assert len(app.screen_stack) == 2
            count = len(app.recent.series("uptime_s"))
            # Behind the help it goes on.
            await seen(pilot, lambda: len(app.recent.series("uptime_s")) > count)
            await pilot.press("x")
            assert len(app.screen_stack) == 1
            await pilot.press("minus")
            assert "every 2 s" in str(app._head.content)
            await pilot.press("plus", "plus")
            assert "every 0.5 s" in str(app._head.content)
            await pilot.press("p")
            assert "PAUSED" in str(app._head.content)
            await seen(pilot, lambda: all(worker.is_finished for worker in app.workers))
            count = len(app.recent.series("uptime_s"))
            await pilot.pause(1.2)
            assert len(app.recent.series("uptime_s")) == count
            await pilot.press("r")
            await seen(pilot, lambda: len(app.recent.series("uptime_s")) > count)
            await pilot.press("q")
        assert app.return_code == 0

    asyncio.run(check())


def test_a_service_that_goes_away_is_waited_for(served):
    """It hangs, is told of with its last numbers, and is found again."""

    async def check():
        source = Source(served.url)
        source._client.timeout = httpx.Timeout(0.5)
        app = MonitorApp(source, 0.3)
        async with app.run_test(size=(80, 24)) as pilot:
            await seen(pilot, lambda: "galaxy-v1" in text_of(app, "models"))
            served.process.send_signal(signal.SIGSTOP)
            try:
                await seen(pilot, lambda: "✗" in str(app._head.content))
                assert app._page.has_class("gone")
                assert "galaxy-v1" in text_of(app, "models")
            finally:
                served.process.send_signal(signal.SIGCONT)
            await seen(pilot, lambda: "●" in str(app._head.content))
            assert not app._page.has_class("gone")

    asyncio.run(check())


def test_a_page_that_nobody_answers_says_so_and_goes_on():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def check():
        app = MonitorApp(Source(f"http://127.0.0.1:{port}"), 0.3)
        async with app.run_test(size=(80, 24)) as pilot:
            await seen(pilot, lambda: "nobody who listens" in str(app._head.content))
            await pilot.pause(0.5)
            assert app.is_running

    asyncio.run(check())


def test_one_look_for_people_and_for_machines(served, capsys):
    assert main(["monitor", "--url", served.url, "--once"]) == 0
    text = capsys.readouterr().out
    for words in ("ACIE 0.", "Latency", "3 in all", "unknown-variable 1", "database up",
                  "galaxy-v1 version 1", "not asked"):  # fmt: skip
        assert words in text
    assert max(map(len, text.splitlines())) <= 120
    assert main(["monitor", "--url", served.url, "--once", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"]["outcomes"] == {"ok": 2, "unknown-variable": 1}
    assert found["alerts"] is None
    assert found["answers"]["total"] == 2


def test_what_cannot_be_shown_is_said(served, capsys, monkeypatch):
    assert main(["monitor", "--url", "http://127.0.0.1:9", "--once"]) == 2
    assert "nobody who listens there" in capsys.readouterr().err
    assert main(["monitor", "--url", "nonsense", "--once"]) == 2
    assert "--url" in capsys.readouterr().err
    assert main(["monitor", "--dashboard", "paper"]) == 2
    assert "terminal, web or grafana" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert main(["monitor", "--url", served.url]) == 2
    assert "--once" in capsys.readouterr().err


@contextlib.contextmanager
def answering(pages: dict[str, tuple[int, object]], seen_heads: list | None = None):
    """A web server with a few pages, such as Grafana's and Alertmanager's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if seen_heads is not None:
                seen_heads.append((self.path, dict(self.headers)))
            status, body = pages.get(self.path, (404, {}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def alert(name: str, severity: str, state: str = "active") -> dict:
    return {"labels": {"alertname": name, "severity": severity}, "state": "firing",
            "annotations": {"summary": f"about {name}"}, "status": {"state": state}}  # fmt: skip


def test_alerts_come_from_alertmanager_or_prometheus(served, capsys):
    rows = [alert("B", "warning"), alert("C", "critical", "suppressed"), alert("A", "critical")]
    heads: list = []
    with answering({"/api/v2/alerts": (200, rows)}, heads) as url:
        arguments = ["--url", served.url, "--token", TOKEN, "--alerts", url, "--once", "--json"]
        assert main(["monitor", *arguments]) == 0
        found = json.loads(capsys.readouterr().out)["alerts"]
    assert [(one["name"], one["silenced"]) for one in found] == [
        ("A", False), ("B", False), ("C", True),
    ]  # fmt: skip
    # The key is for the service and for nobody else.
    assert not any(TOKEN in str(head) for _, head in heads)
    pending = alert("D", "warning") | {"state": "pending"}
    with answering({"/api/v1/alerts": (200, {"data": {"alerts": [pending, *rows[:1]]}})}) as url:
        assert main(["monitor", "--url", served.url, "--alerts", url, "--once"]) == 0
        assert "warning: B: about B" in capsys.readouterr().out
    with answering({}) as url:
        assert main(["monitor", "--url", served.url, "--alerts", url, "--once"]) == 0
        assert "neither Alertmanager nor Prometheus" in capsys.readouterr().out


def test_pages_of_a_browser(served, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with answering({"/api/health": (200, {}), "/dashboard": (200, {})}) as url:
        assert main(["monitor", "--dashboard", "grafana", "--grafana", url]) == 0
        assert capsys.readouterr().out.splitlines()[0] == f"{url}/d/acie-overview"
        assert main(["monitor", "--dashboard", "web", "--url", url, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"url": f"{url}/dashboard", "opened": False}
    with answering({}) as url:
        assert main(["monitor", "--dashboard", "grafana", "--grafana", url]) == 2
        assert "status 404" in capsys.readouterr().err
    assert main(["monitor", "--dashboard", "web", "--url", "http://127.0.0.1:9"]) == 2
    assert "nobody who listens" in capsys.readouterr().err


def test_a_service_that_asks_for_a_key_gets_it():
    heads: list = []
    with answering({"/api/metrics": (401, {})}, heads) as url:
        for token in (None, TOKEN, "a.b.c"):
            with pytest.raises(Unreachable, match="acie token create"):
                asyncio.run(Source(url, token).look())
    kinds = [(h.get("X-API-Key"), h.get("Authorization")) for _, h in heads]
    assert kinds == [(None, None), (TOKEN, None), (None, "Bearer a.b.c")]


def test_without_the_extra_the_remedy_is_said(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "textual", None)
    assert main(["monitor", "--once"]) == 2
    assert "pip install 'acie[deploy]'" in capsys.readouterr().err


def test_states_of_sections():
    body = {
        "queue": {"depth": 125, "capacity": 128}, "latency_ms": {"p99": 3000.0},
        "dependencies": {"cache": False, "database": True},
        "answers": {"confidence_low_share": 0.6},
        "requests": {"outcomes": {"ok": 1, "overloaded": 3}},
        "models": [{"name": "m", "version": "1", "drift": {"age": 0.15, "mass": 0.12}}],
    }  # fmt: skip
    found = {one.key: one for one in sections(Snapshot(body, (Alert("A", "critical", "now"),)))}
    states = {key: one.state for key, one in found.items()}
    assert states == {"latency": "odd", "requests": "odd", "queue": "bad", "confidence": "bad",
                      "cache": "bad", "models": "odd", "alerts": "bad"}  # fmt: skip
    assert "cache DOWN" in found["cache"].lines[1]
    assert "drift 0.15 (age)" in found["models"].lines[0]
    assert found["alerts"].lines == ("critical: A: now",)
    # A service that says nothing of all this is shown, too.
    assert all(one.state == "good" for one in sections(Snapshot({})))


def test_what_happened_between_looks():
    recent = Recent()
    for at, total, mean, up in ((0.0, 10, 0.5, 1.0), (2.0, 20, 0.7, 3.0), (4.0, 20, 0.7, 5.0)):
        answers = {"total": total, "confidence_mean": mean}
        body = {"uptime_s": up, "requests": {"total": total}, "answers": answers}
        recent.add(Snapshot(body, at=at))
    assert recent.rates("requests", "total") == [5.0, 0.0]
    assert recent.confidences() == pytest.approx([0.9, 0.9])
    recent.add(Snapshot({"uptime_s": 0.5, "requests": {"total": 1}}, at=6.0))
    assert recent.rates("requests", "total") == []
