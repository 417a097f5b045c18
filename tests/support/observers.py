"""A real Prometheus and Alertmanager on free ports, and a receiver of notifications."""

import http.server
import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from servers import Server, program

__all__ = ["Alertmanager", "Prometheus", "Receiver", "read_yaml", "until"]


def until(condition: Callable[[], Any], what: str, patience_s: float = 120.0) -> Any:
    """What the condition returns, once it is true."""
    end = time.monotonic() + patience_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.25)


class Receiver:
    """Takes notifications of Alertmanager over real HTTP."""

    def __init__(self) -> None:
        self.messages: list[dict] = []
        messages = self.messages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                messages.append(json.loads(body) | {"path": self.path})
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def got(self, alert: str, status: str) -> list[dict]:
        """Notifications about an alert, firing or resolved."""
        return [
            message
            for message in self.messages
            for one in message["alerts"]
            if one["labels"]["alertname"] == alert and one["status"] == status
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alertmanager(Server):
    """Alertmanager with a configuration."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        self._config = self.folder / "alertmanager.yml"
        self._config.write_text(yaml.safe_dump(config))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            program("prometheus-alertmanager"), f"--config.file={self._config}",
            f"--storage.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]  # fmt: skip

    def answers(self) -> bool:
        return _ready(self.url)

    def alerts(self) -> dict[str, str]:
        """State of every alert by its name: active, suppressed."""
        found = httpx.get(f"{self.url}/api/v2/alerts").json()
        return {one["labels"]["alertname"]: one["status"]["state"] for one in found}


class Prometheus(Server):
    """Prometheus with a configuration and rules.

    Arguments:
        config: Its configuration.
        rules: Texts of rule files by name.
    """

    def __init__(self, config: dict, rules: dict[str, str]) -> None:
        super().__init__()
        self._config = self.folder / "prometheus.yml"
        self._config.write_text(yaml.safe_dump(config))
        (self.folder / "rules").mkdir()
        for name, text in rules.items():
            (self.folder / "rules" / name).write_text(text)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            program("prometheus"), f"--config.file={self._config}",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]  # fmt: skip

    def answers(self) -> bool:
        return _ready(self.url)

    def query(self, text: str) -> list[float]:
        """Finite values of an instant query."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": text}, timeout=20.0)
        document = answer.json()
        assert document["status"] == "success", (text, document)
        result = document["data"]["result"]
        values = (result[1] if document["data"]["resultType"] == "scalar" else None)
        found = [values] if values is not None else [one["value"][1] for one in result]
        return [value for value in map(float, found) if math.isfinite(value)]

    def rules(self) -> list[dict]:
        """Every rule with its health."""
        groups = httpx.get(f"{self.url}/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2.0).status_code == 200
    except httpx.TransportError:
        return False


def read_yaml(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))
