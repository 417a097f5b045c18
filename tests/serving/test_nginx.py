"""nginx with deploy/nginx/acie.conf in front of two replicas, of which one is killed."""

import re
import threading
import time
from pathlib import Path

import grpc
import httpx
import pytest
from processes import Served, question
from servers import Nginx, free_port, running

from acie.serving.rpc._generated import acie_pb2 as pb
from acie.serving.rpc._generated import acie_pb2_grpc

NGINX = Path(__file__).parents[2] / "deploy" / "nginx"


class Proxied(Nginx):
    """nginx with the shipped file, whose addresses are those of the test."""

    def __init__(self, replicas: list[Served]) -> None:
        self.grpc_port = free_port()
        text = "".join((NGINX / name).read_text() for name in ("replicas.conf", "acie.conf"))
        for place, one in zip((8081, 8082), replicas, strict=True):
            text = text.replace(f"server 127.0.0.1:{place} ", f"server 127.0.0.1:{one.port} ")
        for place, one in zip((50061, 50062), replicas, strict=True):
            text = text.replace(f"server 127.0.0.1:{place} ", f"server 127.0.0.1:{one.grpc_port} ")
        text, rest = re.subn(r"listen 8080;", "listen 127.0.0.1:{port};", text)
        text, rpc = re.subn(
            r"listen 50051 http2;", f"listen 127.0.0.1:{self.grpc_port} http2;", text
        )
        assert (rest, rpc) == (1, 1)
        paths = " ".join(
            f"{kind}_temp_path {{folder}}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        super().__init__(
            "worker_processes 1; events {} "
            f"http {{ access_log off; {paths} include acie.conf; }}"
        )
        (self.folder / "acie.conf").write_text(
            text.replace("{port}", str(self.port)), encoding="utf-8"
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(f"replica{i}") for i in range(2)]
    replicas = [Served(folder) for folder in folders]
    try:
        for one in replicas:
            one.wait()
        with running(Proxied(replicas)) as proxy:
            yield proxy, replicas
    finally:
        for one in replicas:
            one.__exit__()


def test_rest_and_grpc_through_the_proxy(cluster):
    proxy, replicas = cluster
    with httpx.Client(base_url=proxy.url, timeout=60.0) as client:
        found = client.post(
            "/api/v2/inference", json=question(samples=8), headers={"X-Request-ID": "by-me"}
        )
        assert found.status_code == 200, found.text
        assert found.headers["x-request-id"] == "by-me"
        assert client.get("/health/ready").status_code == 200
        assert client.get("/metrics").status_code == 404
        large = client.post("/api/v2/inference", content=b"[" + b"1," * 9_000_000)
        assert large.status_code == 413
        asked = {one: sum("by-me" in str(line) for line in one.lines) for one in replicas}
        assert sum(asked.values()) == 1
    with grpc.insecure_channel(f"127.0.0.1:{proxy.grpc_port}") as channel:
        models = acie_pb2_grpc.ACIEInferenceStub(channel).ListModels(
            pb.ListModelsRequest(), timeout=30.0
        )
        assert [model.name for model in models.models] == ["galaxy-v1"]


def test_a_killed_replica_costs_nobody_an_answer(cluster):
    proxy, (first, second) = cluster
    answers, failures, stop = [], [], threading.Event()

    def ask(which: int) -> None:
        with httpx.Client(base_url=proxy.url, timeout=60.0) as client:
            turn = 0
            while not stop.is_set():
                turn += 1
                try:
                    body = question(samples=8, seed=1000 * which + turn)
                    found = client.post("/api/v2/inference", json=body)
                    answers.append((time.monotonic(), found.status_code))
                    if found.status_code != 200:
                        failures.append(found.text[:200])
                except httpx.HTTPError as error:
                    failures.append(repr(error))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(3.0)
    first.process.kill()
    first.process.wait()
    killed = time.monotonic()
    time.sleep(4.0)
    stop.set()
    for thread in threads:
        thread.join()
    # Questions are sent again, so even those in flight on the killed replica are answered.
    assert failures == []
    assert sum(moment > killed for moment, _ in answers) >= 4
    # Both had been asked before.
    assert any("/api/v2/inference" in str(line) for line in first.lines)
    assert any("/api/v2/inference" in str(line) for line in second.lines)


def test_without_replicas_the_proxy_says_so(cluster):
    proxy, replicas = cluster
    assert [one.stop() for one in replicas][1] == 0
    found = httpx.get(f"{proxy.url}/api/v2/models", timeout=30.0)
    assert found.status_code == 503
    assert found.headers["retry-after"] == "2"
    assert found.json()["type"] == "urn:acie:problem:unavailable"
    with grpc.insecure_channel(f"127.0.0.1:{proxy.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as refusal:
            acie_pb2_grpc.ACIEInferenceStub(channel).ListModels(
                pb.ListModelsRequest(), timeout=30.0
            )
        assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
