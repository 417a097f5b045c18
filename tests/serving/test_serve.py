"""``acie serve`` as a process: what it refuses to start with, how it serves, how it leaves."""

import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time

import grpc
import httpx
import pytest
import yaml
from processes import Served, question

from acie.cli import main
from acie.errors import ConfigurationError
from acie.serving.rpc._generated import acie_pb2, acie_pb2_grpc
from acie.serving.settings import Settings


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """No settings but the test's own; what serving does to the process's logs is undone."""
    for name in [name for name in os.environ if name.startswith("ACIE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield monkeypatch
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    patience = {"ACIE_SERVER__HEAD_TIMEOUT_S": "1", "ACIE_SERVER__BODY_TIMEOUT_S": "1.5"}
    with Served(tmp_path_factory.mktemp("serve"), **patience) as one:
        yield one


def test_stronger_sources_win(clean, tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text("server: {port: 1, timeout_s: 7}\ninference: {samples: 32}\n")
    clean.setenv("ACIE_SERVER__PORT", "2")
    clean.setenv("ACIE_SERVER__GRPC_PORT", "null")
    assert Settings.read(file).server.port == 2
    found = Settings.read(file, server={"port": 3})
    assert (found.server.port, found.server.timeout_s, found.inference.samples) == (3, 7.0, 32)
    assert found.server.grpc_port is None


def test_printed_settings_are_a_file_without_secrets(clean, tmp_path, capsys):
    secret = "a-secret-of-at-least-32-characters-0123"
    clean.setenv("ACIE_AUTH__SECRET", secret)
    clean.setenv("ACIE_DATABASE__URL", "postgresql+psycopg://me:hunter22@db/acie")
    assert main(["serve", "--print-settings", "--port", "1234"]) == 0
    text = capsys.readouterr().out
    assert secret not in text
    assert "hunter22" not in text
    assert "port: 1234  # from --port" in text
    assert "# secret: (set)  # from ACIE_AUTH__SECRET" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    file = tmp_path / "printed.yaml"
    file.write_text(text)
    assert set(yaml.safe_load(text)) == set(Settings.model_fields)
    again = Settings.read(file)
    assert again == Settings.read(None, server={"port": 1234})


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--model", "nix"], {}, "nix"),
        (["--port", "70000"], {}, "server.port"),
        (["--config", "nowhere.yaml"], {}, "no such file"),
        (["--host", "0.0.0.0"], {}, "--insecure"),
        (["--host", "192.0.2.1", "--insecure"], {}, "192.0.2.1"),
        ([], {"ACIE_CACHE__URLL": "x"}, "cache.urll"),
        ([], {"ACIE_AUTH__SECRET": "short"}, "32 random bytes"),
        ([], {"ACIE_AUTH__SECRET": "x" * 40, "ACIE_AUTH__JWKS_URL": "https://a.b"}, "not both"),
        ([], {"ACIE_AUTH__JWKS_URL": "http://idp.example/jwks"}, "https"),
        ([], {"ACIE_AUTH__JWKS_URL": "https://a.b", "ACIE_AUTH__ALGORITHM": "HS256"}, "HS256"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason(
    clean, capsys, arguments, environment, says
):
    for name, value in environment.items():
        clean.setenv(name, value)
    assert main(["serve", "--grpc-port", "0", *arguments]) == 2
    text = capsys.readouterr().err
    assert says in text
    assert "Traceback" not in text
    assert not any(len(value) > 30 and value in text for value in environment.values())


def test_a_broken_file_is_refused(clean, tmp_path):
    file = tmp_path / "broken.yaml"
    for text in ("server: [", "- 1", "server: 3", "nothing: {}"):
        file.write_text(text)
        with pytest.raises(ConfigurationError):
            Settings.read(file)


def test_secrets_may_lie_in_files(clean, tmp_path, capsys):
    secret = "a-secret-of-at-least-32-characters-0123"
    (tmp_path / "secret").write_text(secret + "\n")
    (tmp_path / "url").write_text("postgresql://acie:hunter22@db/acie")
    clean.setenv("ACIE_AUTH__SECRET_FILE", str(tmp_path / "secret"))
    clean.setenv("ACIE_DATABASE__URL_FILE", str(tmp_path / "url"))
    clean.setenv("ACIE_DATABASE__BUFFER", "7")
    found = Settings.read()
    assert found.auth.secret.get_secret_value() == secret
    assert found.database.url.get_secret_value() == "postgresql://acie:hunter22@db/acie"
    assert found.database.buffer == 7
    assert Settings() == found
    assert main(["serve", "--print-settings"]) == 0
    text = capsys.readouterr().out
    assert "# secret: (set)  # from ACIE_AUTH__SECRET_FILE" in text
    assert "buffer: 7  # from ACIE_DATABASE__BUFFER" in text
    assert secret not in text


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ACIE_AUTH__SECRET_FILE": "nowhere"}, "No such file"),
        ({"ACIE_AUTH__SECRET_FILE": "empty"}, "nothing in it"),
        ({"ACIE_AUTH__SECRET_FILE": "short"}, "32 random bytes"),
        ({"ACIE_AUTH__SECRET_FILE": "short", "ACIE_AUTH__SECRET": "x" * 40}, "both"),
        ({"ACIE_AUTH__ISSUER_FILE": "short"}, "auth.issuer_file"),
    ],
)
def test_files_that_hold_no_secret_are_refused(clean, tmp_path, capsys, environment, says):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("password")
    for name, value in environment.items():
        clean.setenv(name, value)
    assert main(["serve", "--print-settings"]) == 2
    text = capsys.readouterr().err
    assert says in text
    assert "password" not in text


def test_a_taken_port_is_said_before_models_are_loaded(clean, capsys):
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        port = own.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f":{port} (Address already in use)" in capsys.readouterr().err


def test_curl_gets_an_answer(served, tmp_path):
    body = tmp_path / "question.json"
    body.write_text(json.dumps(question()))
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", f"{served.url}/api/v2/inference/counterfactual",
         "-H", "Content-Type: application/json", "-H", "X-Request-ID: from-curl",
         "--data-binary", f"@{body}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert len(answer["counterfactual"]) == 6000
    assert answer["samples"] == 16
    mine = [line for line in served.lines if line["message"] == "request"
            and line["http"]["request"].get("id") == "from-curl"]  # fmt: skip
    assert [line["http"]["response"]["status_code"] for line in mine] == [200]
    assert mine[0]["event"]["duration"] > 0
    assert mine[0]["log.level"] == "info"


def test_a_malformed_request_id_is_replaced(served):
    found = httpx.get(f"{served.url}/health/live", headers={"X-Request-ID": 'x" {}'})
    assert len(found.headers["x-request-id"]) == 32


def _raw(served, *pieces: bytes, pause: float = 0.0, wait: float = 5.0) -> tuple[bytes, float]:
    """What the server says to these pieces, and after how many seconds it hung up."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", served.port), timeout=wait) as own:
        try:
            for piece in pieces:
                own.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass
        found = b""
        try:
            while piece := own.recv(65536):
                found += piece
        except ConnectionResetError:
            pass
    return found, time.monotonic() - start


def test_a_silent_connection_is_closed(served):
    found, seconds = _raw(served)
    assert found == b""
    assert 0.5 < seconds < 4.0


def test_a_slow_head_is_refused(served):
    pieces = [b"GET /health/live HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 20]
    found, seconds = _raw(served, *pieces, pause=0.1)
    assert found.startswith(b"HTTP/1.1 408")
    assert seconds < 4.0


def test_an_endless_head_is_refused(served):
    found, _ = _raw(served, b"GET /health/live HTTP/1.1\r\nX-A: ", *[b"b" * 8192] * 8, pause=0.02)
    assert b"431" in found[:20] or found == b""
    assert httpx.get(f"{served.url}/health/live").status_code == 200


def test_a_slow_body_is_refused(served):
    head = (b"POST /api/v2/inference HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{")  # fmt: skip
    found, seconds = _raw(served, head)
    assert found.startswith(b"HTTP/1.1 408")
    assert b"urn:acie:problem:slow-body" in found
    assert 1.0 < seconds < 5.0


def test_leaving_under_load_fails_no_request(tmp_path):
    environment = {"ACIE_SERVER__NOTICE_S": "1.0"}
    with Served(tmp_path, **environment) as one:
        failures, answered, refused = [], [], []
        # Questions of their own: equal ones would be answered from the cache.
        left, seeds = threading.Event(), itertools.count()

        def ask(which: int) -> None:
            with httpx.Client(base_url=one.url, timeout=30.0) as client:
                while True:
                    try:
                        if which % 2:
                            found = client.post("/api/v2/inference", json=question())
                        else:
                            found = client.get("/api/v2/models")
                        answered.append((found.status_code, left.is_set()))
                    except httpx.ConnectError:
                        refused.append(time.monotonic())
                        return
                    except httpx.HTTPError as error:
                        failures.append(repr(error))
                        return

        def call() -> None:
            target = f"127.0.0.1:{one.grpc_port}"
            own = question()["observation"]
            asked = acie_pb2.InferenceRequest(samples=8)
            asked.observation.redshift = own["redshift"]
            for name in ("flux", "ivar"):
                getattr(asked.observation, name).extend(v or 0.0 for v in own[name])
            with grpc.insecure_channel(target) as channel:
                stub = acie_pb2_grpc.ACIEInferenceStub(channel)
                for seed in itertools.count(next(seeds), 100):
                    asked.seed = seed
                    begun = time.monotonic()
                    try:
                        stub.CounterfactualInference(asked, timeout=30.0)
                        answered.append((200, left.is_set()))
                    except grpc.RpcError as error:
                        # How the library refuses calls that come when the server has stopped.
                        refusals = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
                        if error.code() not in refusals:
                            failures.append(repr(error))
                        refused.append(begun)
                        return

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
        threads += [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        start = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        left.set()
        time.sleep(0.3)
        assert httpx.get(f"{one.url}/health/ready").status_code == 503
        for thread in threads:
            thread.join()
        assert one.process.wait(40.0) == 0
    assert failures == []
    assert {status for status, _ in answered} == {200}
    # What was let in was answered, whatever the caller saw of what was not.
    calls = [line for line in one.lines if "CounterfactualInference" in str(line)]
    assert calls
    assert {line["acie"]["code"] for line in calls} == {"OK"}
    # Those who came after the signal were served for as long as promised.
    assert sum(after for _, after in answered) >= 6
    assert min(refused) - start > 0.9
    assert one.lines[-1]["message"] == "left"


def test_a_second_signal_ends_it_at_once(tmp_path):
    quick = {"ACIE_SERVER__NOTICE_S": "30", "ACIE_INFERENCE__MODELS": "[]"}
    with Served(tmp_path, **quick) as one:
        one.process.send_signal(signal.SIGINT)
        time.sleep(0.8)
        assert one.process.poll() is None
        assert one.stop(signal.SIGINT, seconds=5.0) == 128 + signal.SIGINT
