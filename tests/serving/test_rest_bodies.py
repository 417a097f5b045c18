"""What is sent to the server: types, sizes, and bodies that are meant to break it."""

import gzip
import json
import socket

import msgpack
import numpy as np
import pytest

URL = "/api/v2/inference/counterfactual"
LIMIT = 2 * 2**20


def post(rest, content, kind="application/json", url=URL, **headers):
    return rest.post(url, content=content, headers={"Content-Type": kind, **headers})


def problem(response, status):
    """The problem document of an answer that must be one."""
    assert response.status_code == status, response.text[:300]
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert {"type", "title", "detail", "instance"} <= set(document)
    return document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"observation": [1.0, 2.0',
        b'{"observation": [NaN]}',
        b'{"observation": [Infinity]}',
        b'{"observation": [1e999]}',
        b'{"observation": [1]} {"observation": [1]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"intervention": "\xff\xfe"}',
        b'{"intervention": "\\ud800"}',
        b"\x00" * 1000,
    ],
    ids=["empty", "truncated", "nan", "infinity", "overflow", "two documents", "nested lists",
         "nested objects", "no utf-8", "lone surrogate", "zeros"],
)  # fmt: skip
def test_what_is_no_json_is_refused(rest, body):
    assert problem(post(rest, body), 400)["type"] == "urn:acie:problem:malformed-body"


@pytest.mark.parametrize(
    "body",
    [b"", b"\x81", b"\x91" * 100_000 + b"\x01", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
     b"\x81\x01\x02", b"\xc1", b"\x01\x02"],
    ids=["empty", "truncated", "nested", "array of 4e9", "bytes of 4e9", "number as key",
         "no type", "two documents"],
)  # fmt: skip
def test_what_is_no_msgpack_is_refused(rest, body):
    problem(post(rest, body, "application/msgpack"), 400)


@pytest.mark.parametrize(
    ("body", "at", "words"),
    [
        ({}, "observation", "a value"),
        ({"observation": "x"}, "observation", "a list of numbers, or an object with flux"),
        ({"observation": [1, "2"]}, "observation.1", "a valid number"),
        ({"observation": {"flux": [1, True]}}, "observation.flux.1", "a valid number"),
        ({"observation": {"flux": [[1]]}}, "observation.flux.0", "a valid number"),
        ({"observation": {"flux": []}}, "observation.flux", "at least 1 items"),
        ({"observation": [0.0] * 20001}, "observation", "at most 20000 items"),
        ({"observation": [1], "samples": "5"}, "samples", "a valid integer"),
        ({"observation": [1], "seed": -1}, "seed", "greater than or equal to 0"),
        ({"observation": [1], "extra": 1}, "extra", "fields of the contract only"),
        ({"observation": [1], "intervention": 5}, "intervention", "a text such as"),
        ({"observation": [1], "intervention": {"age": [1]}}, "intervention.age", "a number"),
        ({"observation": [1], "intervention": {"age": {"set": 1, "scale": 2}}},
         "intervention.age", "one of set, scale, shift, shift_dex"),
        ({"observation": {"flux": {"dtype": "float32", "shape": [2], "data": [1, 2]}}},
         "observation.flux", "raw bytes, in msgpack"),
        ([1], "body", "an object"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what(rest, body, at, words):
    document = problem(post(rest, json.dumps(body)), 422)
    assert [one["at"] for one in document["errors"]] == [at]
    assert words in document["errors"][0]["expected"]
    assert document["detail"].startswith(f"{at}: expected ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "object"}, "a dtype of float32"),
        ({"dtype": ["float32"]}, "a dtype of float32"),
        ({"shape": [-1]}, "a shape of one axis"),
        ({"shape": [2, 1]}, "a shape of one axis"),
        ({"shape": [2**40]}, "a shape of one axis"),
        ({"shape": [True]}, "a shape of one axis"),
        ({"data": b"1234567"}, "8 bytes of data"),
        ({"data": "12345678"}, "raw bytes"),
        ({"more": 1}, "raw bytes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(rest, change, words):
    array = {"dtype": "float32", "shape": [2], "data": bytes(8)} | change
    body = msgpack.packb({"observation": {"flux": array}})
    document = problem(post(rest, body, "application/msgpack"), 422)
    assert document["errors"][0]["at"] == "observation.flux"
    assert words in document["errors"][0]["expected"]


def test_a_long_list_of_errors_is_cut(rest):
    body = {"observation": [1], **{f"x{i}": 1 for i in range(1000)}}
    response = post(rest, json.dumps(body))
    assert len(problem(response, 422)["errors"]) == 10
    assert len(response.content) < 5000


def test_numbers_that_no_float_holds_are_refused(rest, galaxy):
    text = '{"age": 1' + "0" * 1000 + "}"
    problem(post(rest, json.dumps({**galaxy, "intervention": text})), 422)


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"],
)
def test_other_types_are_refused(rest, kind):
    response = post(rest, b"{}", kind)
    problem(response, 415)
    assert response.headers["Accept"] == "application/json, application/msgpack"


def test_packed_bodies_are_refused_unread(rest):
    bomb = gzip.compress(bytes(50 * 2**20))
    response = post(rest, bomb, **{"Content-Encoding": "gzip"})
    problem(response, 415)
    assert response.headers["Accept-Encoding"] == "identity"


def test_large_bodies_are_refused_by_their_length(rest):
    assert "2097152 bytes" in problem(post(rest, b" " * (LIMIT + 1)), 413)["expected"]
    # One byte less is read, and found to be no JSON.
    problem(post(rest, b" " * LIMIT), 400)


def test_large_bodies_without_a_length_are_refused_too(rest):
    def chunks():
        for _ in range(LIMIT // 2**16 + 1):
            yield b" " * 2**16

    problem(post(rest, chunks()), 413)


def test_a_body_that_lies_about_its_length_harms_nobody(rest, rest_url):
    host, port = rest_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            f"POST {URL} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            "Content-Length: 1000\r\n\r\n{".encode()
        )
    assert rest.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/msgpack", "application/msgpack"),
        ("application/x-msgpack", "application/msgpack"),
        ("application/json;q=0.5, application/msgpack", "application/msgpack"),
        ("text/html, application/json;q=0.9, */*;q=0.1", "application/json"),
        ("application/json;q=0, */*", "application/msgpack"),
    ],
)
def test_the_type_of_the_answer_is_negotiated(rest, accept, kind):
    response = rest.get("/api/v2/models", headers={"Accept": accept})
    assert response.headers["Content-Type"] == kind
    assert "Accept" in response.headers["Vary"]


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/json;q=x"])
def test_types_that_are_not_written_are_refused(rest, accept):
    problem(rest.get("/api/v2/models", headers={"Accept": accept}), 406)
    problem(post(rest, b"{}", Accept=accept), 406)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", URL, 405), ("PUT", "/api/v2/models", 405),
     ("GET", "/api/v2/graph/", 404), ("TRACE", "/health", 405)],
)  # fmt: skip
def test_paths_and_methods_that_do_not_exist(rest, method, path, status):
    problem(rest.request(method, path), status)


def test_the_allowed_methods_are_those_of_all_routes(rest):
    assert rest.put("/api/v2/models").headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "..", "galaxy-v1%00", "%0d%0aX: 1",
     "a" * 300, "galaxy-v1@1@1", "*"],
)  # fmt: skip
def test_names_of_models_lead_nowhere_else(rest_url, name):
    # A plain socket: clients tidy such paths up before they send them.
    host, port = rest_url.removeprefix("http://").split(":")
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/1/ready"):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: raw.recv(65536), b"")).decode()
        assert answer.split()[1] in ("400", "404", "422"), answer[:200]
        assert "root:" not in answer


@pytest.mark.parametrize("name", ["../models", "/etc", "a/b", ".", "*", "", "a" * 101, "a\n"])
def test_models_are_loaded_by_name_only(rest, name):
    problem(rest.post("/api/v2/models", json={"name": name}), 422)
    problem(rest.post("/api/v2/models", json={"name": "galaxy-v1", "version": name}), 422)


def test_headers_of_an_answer(rest):
    for path in ("/health/live", "/nothing", "/openapi.json"):
        headers = rest.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert len(headers["X-Request-ID"]) == 32


def test_a_request_keeps_its_name_and_its_trace(rest):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = rest.get(
        "/nothing", headers={"X-Request-ID": "run-7:42", "traceparent": trace}
    ).headers
    assert (headers["X-Request-ID"], headers["traceparent"]) == ("run-7:42", trace)


@pytest.mark.parametrize("name", ["a b", "x" * 129, "<script>", "é", "a\tb", "-x"])
def test_names_that_could_do_harm_are_replaced(rest, name):
    headers = rest.get("/health/live", headers={b"X-Request-ID": name.encode("latin-1")}).headers
    assert len(headers["X-Request-ID"]) == 32
    bad = "00-00000000000000000000000000000000-b7ad6b7169203331-01"
    assert "traceparent" not in rest.get("/health/live", headers={"traceparent": bad}).headers


def test_a_header_cannot_be_smuggled_into_the_answer(rest_url):
    host, port = rest_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\rSet-Cookie: b=1\r\n"
            b"Connection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b"set-cookie" not in answer.lower()


def test_only_friends_may_call_from_a_browser(rest):
    friend, foe = (
        rest.get("/health/live", headers={"Origin": f"https://{name}.example"}).headers
        for name in ("friend", "foe")
    )
    assert friend["Access-Control-Allow-Origin"] == "https://friend.example"
    assert "Access-Control-Allow-Origin" not in foe
    prefix = "Access-Control-Request"
    asked = {f"{prefix}-Method": "POST", f"{prefix}-Headers": "X-Request-ID"}
    for name, status in (("friend", 200), ("foe", 400)):
        origin = {"Origin": f"https://{name}.example"}
        assert rest.options(URL, headers=asked | origin).status_code == status


def test_errors_that_nobody_expected_tell_nothing(rest_app, rest, monkeypatch, galaxy):
    async def broken(*_):
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(rest_app.state.resources.service, "_answer", broken)
    response = rest.post(URL, json=galaxy, headers={"X-Request-ID": "trouble"})
    assert problem(response, 500)["title"] == "Internal error"
    assert response.headers["X-Request-ID"] == "trouble"
    assert "secret" not in response.text
    batch = rest.post("/api/v2/inference/batch", json={"requests": [galaxy]})
    assert [one["status"] for one in batch.json()["answers"]] == [500]
    assert "secret" not in batch.text


def test_a_spectrum_is_decoded_in_a_millisecond_or_two():
    """Processor time of decoding 6000 fluxes and inverse variances.

    The bound is four times what it takes on a slow core, and a tenth of the time of an answer.
    """
    import time

    import orjson

    from acie.serving.rest.wire import validated
    from acie.serving.schemas import RequestBody, query_of

    noise = np.random.default_rng(0).normal(10.0, 1.0, (2, 6000))
    raw = orjson.dumps({"observation": {"flux": noise[0].tolist(), "ivar": noise[1].tolist()}})
    times = []
    for _ in range(9):
        start = time.process_time()
        query_of(validated(RequestBody, orjson.loads(raw)))
        times.append(time.process_time() - start)
    assert min(times) < 8e-3


def test_the_docs_run_only_their_own_scripts(rest):
    response = rest.get("/docs")
    policy = response.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert "sha256-" in policy
    assert "SwaggerUIBundle" in response.text
