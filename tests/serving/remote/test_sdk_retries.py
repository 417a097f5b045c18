"""Trying again, against small servers that fail first."""

import email.utils
import http.server
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from acie_sdk import (
    ACIEClient,
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OverloadedError,
    PermissionError_,
    RateLimitedError,
    RetryPolicy,
    ServerError,
)
from acie_sdk._errors import status_error
from acie_sdk._generated import acie_pb2 as pb
from acie_sdk._generated import acie_pb2_grpc
from acie_sdk._retries import Attempts

QUICK = RetryPolicy(retries=3, base_s=0.01, cap_s=0.05)
STATE = {"unit": "mag", "median": 0.5, "p16": 0.4, "p84": 0.6}
ANSWER = {
    "model": {"name": "small", "version": "1", "digest": "0"},
    "redshift": 0.1,
    "interventions": [],
    "counterfactual": [1.0, 2.0],
    "counterfactual_p16": [0.5, 1.5],
    "counterfactual_p84": [1.5, 2.5],
    "latent_names": ["dust_av"],
    "latent_state": [0.5],
    "latents": {"dust_av": STATE},
    "counterfactual_latents": {"dust_av": STATE},
    "confidence": 0.5,
    "quality": [],
    "samples": 2,
}


class SmallServer:
    """Plays a list of answers, the last one for ever, and notes what came when.

    An answer is a status with headers and a body, or ``None`` to hang up.
    """

    def __init__(self, *script):
        self.seen, self._script = [], list(script)
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                owner.seen.append((time.monotonic(), dict(self.headers)))
                step = owner._script[min(len(owner.seen), len(owner._script)) - 1]
                if step is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, headers, body = step
                if callable(body):
                    body = body()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


def good():
    return 200, {"Content-Type": "application/json"}, json.dumps(ANSWER).encode()


def refusal(status, **headers):
    problem = {"type": "urn:acie:problem:x", "title": "X", "status": status, "detail": "said so"}
    kind = {"Content-Type": "application/problem+json"}
    return status, kind | headers, json.dumps(problem).encode()


def infer(server, retries=QUICK, **options):
    with ACIEClient(server.url, retries=retries, **options) as client:
        return client.infer(np.ones(2))


def test_the_service_says_when_to_come_back_and_the_client_obeys():
    with SmallServer(refusal(503, **{"Retry-After": "1"}), good()) as server:
        answer = infer(server)
    assert answer.model.name == "small"
    (first, before), (second, after) = server.seen
    assert second - first >= 1.0
    # One request, sent twice: the service can recognise it.
    for name in ("Idempotency-Key", "X-Request-ID"):
        assert before[name] == after[name] != ""


def test_a_date_says_when_too():
    until = int(time.time()) + 3
    date = email.utils.formatdate(until, usegmt=True)
    with SmallServer(refusal(429, **{"Retry-After": date}), good()) as server:
        infer(server)
    clock = time.time() - time.monotonic()
    assert len(server.seen) == 2
    assert server.seen[1][0] + clock >= until - 0.01


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(status):
    with SmallServer(refusal(status), refusal(status), good()) as server:
        assert infer(server).confidence == 0.5
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequestError), (401, AuthenticationError), (403, PermissionError_),
     (404, NotFoundError), (409, BadRequestError), (413, BadRequestError), (422, BadRequestError),
     (500, ServerError), (501, ServerError)],
)  # fmt: skip
def test_what_will_not_pass_is_not(status, kind):
    # Even where something says when to come back.
    with SmallServer(refusal(status, **{"Retry-After": "0"}), good()) as server:
        with pytest.raises(APIStatusError) as caught:
            infer(server)
        assert len(server.seen) == 1
    assert type(caught.value) is kind
    assert caught.value.attempts == 1
    assert "said so" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, RateLimitedError), (503, OverloadedError), (502, ServerError), (504, ServerError)],
)
def test_patience_ends(status, kind):
    with SmallServer(refusal(status)) as server, pytest.raises(kind) as caught:
        infer(server)
    assert len(server.seen) == caught.value.attempts == 1 + QUICK.retries


def test_waiting_past_the_deadline_is_no_use():
    with SmallServer(refusal(503, **{"Retry-After": "60"}), good()) as server:
        start = time.monotonic()
        with pytest.raises(OverloadedError) as caught:
            infer(server, deadline=30.0)
        assert time.monotonic() - start < 30.0
    assert caught.value.retry_after_s == 60.0
    assert len(server.seen) == 1


def test_a_broken_connection_is_tried_again():
    with SmallServer(None, None, good()) as server:
        assert infer(server).redshift == 0.1
    assert len(server.seen) == 3
    with SmallServer(None) as server, pytest.raises(APIConnectionError):
        infer(server)
    assert len(server.seen) == 1 + QUICK.retries


def test_silence_is_not():
    release = threading.Event()

    def silent():
        release.wait(60)
        return b"{}"

    with SmallServer((200, {}, silent)) as server:
        with pytest.raises(APITimeoutError):
            infer(server, timeout=0.5)
        release.set()
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b"{}", b'{"model": 3}', b""])
def test_another_kind_of_server_is_recognised(body):
    with SmallServer((200, {}, body)) as server, pytest.raises(APIResponseError):
        infer(server)
    assert len(server.seen) == 1


def test_what_a_proxy_says_is_passed_on():
    with (
        SmallServer((502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>")) as server,
        pytest.raises(ServerError, match="Bad gateway"),
    ):
        infer(server, retries=0)


def test_waits_grow_within_their_bounds():
    policy = RetryPolicy(retries=6, base_s=0.5, cap_s=4.0)
    waits = []
    for _ in range(200):
        attempts = Attempts(policy, timeout_s=1.0, deadline_s=1e6)
        waits.append([])
        for _ in range(policy.retries):
            attempts.begin()
            waits[-1].append(attempts.wait(APIConnectionError()))
        attempts.begin()
        with pytest.raises(APIConnectionError):
            attempts.wait(APIConnectionError())
    longest = np.minimum(policy.cap_s, policy.base_s * 2.0 ** np.arange(policy.retries))
    waits = np.array(waits)
    assert (waits >= 0.0).all()
    assert (waits <= longest).all()
    # Uniform: the mean of 200 is normal with a standard deviation of longest / sqrt(12 * 200);
    # five of them leave a chance of 6 * 6e-7 to fail by accident.
    assert (np.abs(waits.mean(0) - longest / 2) < 5 * longest / np.sqrt(12 * 200)).all()


def test_waits_are_never_shorter_than_asked():
    for asked in (0.0, 0.3, 7.0):
        attempts = Attempts(QUICK, timeout_s=1.0, deadline_s=60.0)
        attempts.begin()
        wait = attempts.wait(status_error(503, {}, asked))
        assert asked <= wait <= asked + QUICK.base_s


class SmallInference(acie_pb2_grpc.ACIEInferenceServicer):
    """Refuses a number of times, with a code and a problem, then answers."""

    def __init__(self, code, problem, times):
        self.seen, self._code, self._problem, self._times = [], code, problem, times

    def CounterfactualInference(self, request, context):
        metadata = dict(context.invocation_metadata())
        self.seen.append((time.monotonic(), metadata["idempotency-key"], request.request_id))
        if len(self.seen) <= self._times:
            if self._problem is not None:
                raw = self._problem.SerializeToString()
                context.set_trailing_metadata((("acie-problem-bin", raw),))
            context.abort(self._code, "refused")
        return pb.InferenceResponse(
            counterfactual=[1.0], counterfactual_p16=[0.0], counterfactual_p84=[2.0],
            model=pb.Model(name="small", version="1", digest="0"), samples=2,
        )  # fmt: skip


def infer_by_grpc(servicer, **options):
    server = grpc.server(ThreadPoolExecutor(2))
    acie_pb2_grpc.add_ACIEInferenceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with ACIEClient(f"127.0.0.1:{port}", transport="grpc", retries=QUICK, **options) as client:
            return client.infer(np.ones(2))
    finally:
        server.stop(0).wait()


def test_grpc_obeys_too():
    problem = pb.Problem(status=503, detail="full", retry_after_s=0.7)
    servicer = SmallInference(grpc.StatusCode.RESOURCE_EXHAUSTED, problem, 1)
    assert infer_by_grpc(servicer).model.name == "small"
    (first, *names), (second, *again) = servicer.seen
    assert second - first >= 0.7
    assert names == again


@pytest.mark.parametrize(
    ("code", "status", "kind", "count"),
    [
        ("UNAVAILABLE", None, APIConnectionError, 4),
        ("RESOURCE_EXHAUSTED", 429, RateLimitedError, 4),
        ("DEADLINE_EXCEEDED", 504, ServerError, 4),
        ("RESOURCE_EXHAUSTED", None, BadRequestError, 1),
        ("DEADLINE_EXCEEDED", None, APITimeoutError, 1),
        ("INVALID_ARGUMENT", 422, BadRequestError, 1),
        ("UNAUTHENTICATED", None, AuthenticationError, 1),
        ("PERMISSION_DENIED", None, PermissionError_, 1),
        ("UNIMPLEMENTED", None, NotFoundError, 1),
        ("INTERNAL", None, ServerError, 1),
    ],
)
def test_codes_of_grpc(code, status, kind, count):
    problem = None if status is None else pb.Problem(status=status, detail="said so")
    servicer = SmallInference(getattr(grpc.StatusCode, code), problem, 99)
    with pytest.raises(kind) as caught:
        infer_by_grpc(servicer)
    assert type(caught.value) is kind
    assert len(servicer.seen) == caught.value.attempts == count
