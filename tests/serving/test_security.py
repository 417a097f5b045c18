"""Who is let in: tokens, keys, scopes, rates, over REST and gRPC; and what the logs keep."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import logging
import threading
import time

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from processes import question

from acie.serving import create_app
from acie.serving.logs import Redaction
from acie.serving.request import RequestContext, enter_request, leave_request
from acie.serving.rest.guard import scope_of
from acie.serving.security import (
    Access,
    Forbidden,
    IdentityUnavailable,
    RateLimited,
    Unauthenticated,
    hash_of,
    keys,
    keyset,
    make_key,
)
from acie.serving.security.rates import Rates
from acie.serving.settings import AuthSettings, Settings
from acie.serving.storage import ApiKeyRepository, Database, upgrade

SECRET = "a secret of 32 characters or more, for tests"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def claims(**own) -> dict:
    base = {"sub": "alice", "aud": "acie", "exp": time.time() + 60, "scope": "infer read"}
    return {k: v for k, v in (base | own).items() if v is not None}


def hs256(secret=SECRET, headers=None, **own) -> str:
    return jwt.encode(claims(**own), secret, "HS256", headers=headers)


def by_hand(header: dict, content: dict, key: bytes | None) -> str:
    """A token that no library would sign."""

    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    text = f"{part(header)}.{part(content)}"
    if key is None:
        return f"{text}."
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def who(access: Access, headers: list[tuple[str, str]]):
    return asyncio.run(access.authenticate(headers))


@pytest.fixture(scope="module")
def access():
    return Access(AuthSettings(secret=SECRET, issuer="https://idp"))


def test_a_good_token_says_who_and_what(access):
    found = who(access, bearer(hs256(iss="https://idp", scope="read admin sudo")))
    assert (found.name, found.scopes) == ("alice", {"read", "admin"})
    listed = who(access, bearer(hs256(iss="https://idp", scope=None, scp=["infer"])))
    assert listed.scopes == {"infer"}


REFUSED = {
    "expired": lambda: hs256(iss="https://idp", exp=time.time() - 60),
    "not yet valid": lambda: hs256(iss="https://idp", nbf=time.time() + 60),
    "without end": lambda: hs256(iss="https://idp", exp=None),
    "without subject": lambda: hs256(iss="https://idp", sub=None),
    "subject with line break": lambda: hs256(iss="https://idp", sub="a\nb"),
    "other audience": lambda: hs256(iss="https://idp", aud="other"),
    "without audience": lambda: hs256(iss="https://idp", aud=None),
    "other issuer": lambda: hs256(iss="https://evil"),
    "without issuer": lambda: hs256(),
    "forged": lambda: hs256("another secret of 32 characters or more", iss="https://idp"),
    "changed": lambda: hs256(iss="https://idp")[:-4] + "AAAA",
    "alg none": lambda: by_hand({"alg": "none"}, claims(iss="https://idp"), None),
    "alg None": lambda: by_hand({"alg": "None"}, claims(iss="https://idp"), b""),
    "other hash": lambda: jwt.encode(claims(iss="https://idp"), SECRET * 2, "HS512"),
    "RS256": lambda: jwt.encode(claims(iss="https://idp"), RSA, "RS256"),
    "key inside": lambda: by_hand({"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}},
                                  claims(iss="https://idp"), b"\x00"),
    "critical": lambda: by_hand({"alg": "HS256", "crit": ["x"], "x": 1},
                                claims(iss="https://idp"), SECRET.encode()),
    "nonsense": lambda: "a.b.c",
    "empty": lambda: "",
    "huge": lambda: "e" * 10_000,
    "not ASCII": lambda: "é.é.é",
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_other_tokens_are_refused(access, kind):
    with pytest.raises(Unauthenticated) as refusal:
        who(access, bearer(REFUSED[kind]()))
    assert refusal.value.headers["WWW-Authenticate"].startswith('Bearer realm="acie"')
    assert refusal.value.headers["WWW-Authenticate"].isascii()


@pytest.mark.parametrize(
    "headers",
    [[], [("authorization", "Basic YTpi")], [("authorization", "Bearer")], [("x-api-key", "")],
     bearer("x") * 2, [*bearer("x"), ("x-api-key", "y")], [("x-api-key", "acie_short")]],
)  # fmt: skip
def test_other_credentials_are_refused(access, headers):
    with pytest.raises(Unauthenticated):
        who(access, headers)


class Provider(http.server.BaseHTTPRequestHandler):
    """A JWKS endpoint over real HTTP; the server says what it answers."""

    def do_GET(self):
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.body)

    def log_message(self, *arguments):
        pass


def jwks(*keys: dict) -> bytes:
    return json.dumps({"keys": keys}).encode()


def public(key, kid: str, **more) -> dict:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid} | more


@pytest.fixture
def provider():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.asked, server.status = 0, 200
    server.body = jwks(public(RSA, "r1"), public(EC, "e1"),
                       {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(),
                        "kid": "o1"})  # fmt: skip
    server.url = f"http://127.0.0.1:{server.server_port}/jwks"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("family", "key", "kid"), [("RS256", RSA, "r1"), ("ES256", EC, "e1")]
)
def test_keys_of_a_provider(provider, family, key, kid):
    own = Access(AuthSettings(jwks_url=provider.url, algorithm=family))
    good = jwt.encode(claims(), key, family, headers={"kid": kid})
    assert who(own, bearer(good)).name == "alice"
    # The only key of its family answers for tokens that name none.
    assert who(own, bearer(jwt.encode(claims(), key, family))).name == "alice"
    assert provider.asked == 1
    stranger = rsa.generate_private_key(65537, 2048) if family == "RS256" else (
        ec.generate_private_key(ec.SECP256R1()))  # fmt: skip
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    other, other_key = ("ES256", EC) if family == "RS256" else ("RS256", RSA)
    for bad in (
        jwt.encode(claims(), stranger, family, headers={"kid": kid}),
        # The public key, which everybody knows, taken for a secret.
        by_hand({"alg": "HS256", "kid": kid}, claims(), pem),
        by_hand({"alg": "HS256", "kid": kid}, claims(), der),
        by_hand({"alg": family, "kid": kid}, claims(), pem),
        by_hand({"alg": "HS256", "kid": "o1"}, claims(), b"x" * 32),
        by_hand({"alg": "none", "kid": kid}, claims(), None),
        jwt.encode(claims(), other_key, other, headers={"kid": kid}),
        jwt.encode(claims(aud="other"), key, family, headers={"kid": kid}),
        jwt.encode(claims(exp=1), key, family, headers={"kid": kid}),
        jwt.encode(claims(), stranger, family, headers={"kid": kid, "jku": provider.url}),
    ):
        with pytest.raises(Unauthenticated):
            who(own, bearer(bad))


def test_forged_key_ids_cause_no_traffic_and_an_outage_no_refusals(provider):
    own = Access(AuthSettings(jwks_url=provider.url))
    good = bearer(jwt.encode(claims(), RSA, "RS256", headers={"kid": "r1"}))

    async def flood() -> None:
        await own.authenticate(good)
        for index in range(50):
            forged = jwt.encode(claims(), RSA, "RS256", headers={"kid": f"k{index}"})
            with pytest.raises(Unauthenticated):
                await own.authenticate(bearer(forged))
        assert provider.asked == 1
        provider.shutdown()
        keys = own._tokens._keys
        keys._fetched -= keyset._FRESH_S + 1  # as if five minutes had passed
        keys._tried = keys._fetched
        assert (await own.authenticate(good)).name == "alice"

    asyncio.run(flood())


def test_a_new_key_is_found(provider):
    own = Access(AuthSettings(jwks_url=provider.url))
    fresh = rsa.generate_private_key(65537, 2048)
    new = bearer(jwt.encode(claims(), fresh, "RS256", headers={"kid": "r2"}))

    async def rotate() -> None:
        with pytest.raises(Unauthenticated):
            await own.authenticate(new)
        provider.body = jwks(public(RSA, "r1"), public(fresh, "r2"))
        own._tokens._keys._tried -= keyset._PAUSE_S  # as if half a minute had passed
        assert (await own.authenticate(new)).name == "alice"

    asyncio.run(rotate())


@pytest.mark.parametrize("kind", ["redirect", "huge", "no JSON", "no keys", "weak key"])
def test_bad_key_sets_are_an_outage(provider, kind):
    weak = rsa.generate_private_key(65537, 1024)
    provider.status = 302 if kind == "redirect" else 200
    provider.body = {
        "huge": b'{"keys": [' + b" " * 2**21, "no JSON": b"<html>", "no keys": b"{}",
        "weak key": jwks(public(weak, "r1")),
    }.get(kind, b"")  # fmt: skip
    own = Access(AuthSettings(jwks_url=provider.url))
    signed = jwt.encode(claims(), weak if kind == "weak key" else RSA, "RS256",
                        headers={"kid": "r1"})  # fmt: skip
    with pytest.raises(IdentityUnavailable):
        who(own, bearer(signed))


@pytest.fixture
def database(tmp_path):
    return f"sqlite:///{tmp_path}/keys.db"


def test_api_keys_work_until_they_are_revoked(database, monkeypatch):
    monkeypatch.setattr(keys, "_FRESH_S", 0.2)

    async def life() -> None:
        store = Database(database)
        await upgrade(store)
        repository = ApiKeyRepository(store)
        own = Access(AuthSettings(required=True), repository)
        key = make_key()
        record = await repository.create_key(hash_of(key), "lab", ("infer", "sudo"))
        for headers in ([("x-api-key", key)], bearer(key), [("X-API-Key", key)]):
            found = await own.authenticate(headers)
            assert (found.name, found.scopes, found.kind) == ("lab", {"infer"}, "key")
        with pytest.raises(Unauthenticated):
            await own.authenticate([("x-api-key", make_key())])
        with pytest.raises(Unauthenticated):
            await own.authenticate(bearer(hs256()))
        # What is stored does not open the door.
        with pytest.raises(Unauthenticated):
            await own.authenticate([("x-api-key", record.hash)])
        assert await repository.revoke_key(record.id)
        await asyncio.sleep(0.25)
        with pytest.raises(Unauthenticated):
            await own.authenticate([("x-api-key", key)])
        await own.close()
        assert (await repository.list_keys())[0].last_used is not None
        await store.close()

    asyncio.run(life())


def test_known_keys_outlive_an_outage_of_the_database(database, monkeypatch):
    monkeypatch.setattr(keys, "_FRESH_S", 0.0)

    async def outage() -> None:
        store = Database(database)
        await upgrade(store)
        repository = ApiKeyRepository(store)
        own = Access(AuthSettings(required=True), repository)
        key = make_key()
        await repository.create_key(hash_of(key), "lab", ("infer",))
        assert (await own.authenticate([("x-api-key", key)])).name == "lab"
        async with store.transaction() as connection:
            await connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO gone")
        assert (await own.authenticate([("x-api-key", key)])).name == "lab"
        with pytest.raises(IdentityUnavailable):
            await own.authenticate([("x-api-key", make_key())])
        await store.close()

    asyncio.run(outage())


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.1, 100.0),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 60)), min_size=1, max_size=60),
)
def test_nobody_gets_more_than_the_rate(rate, burst, visits):
    now = 0.0
    rates = Rates(rate, burst, lambda: now)
    got, first_debt = 0, 0
    for pause, galaxies in visits:
        now += pause
        try:
            allowance = rates.charge("a", galaxies)
        except RateLimited as refusal:
            wait = refusal.retry_after_s
            assert 0.0 < wait <= (burst + first_debt) / rate + 1e-6
            now += wait
            # Waiting as long as told is enough.
            allowance = rates.charge("a", galaxies)
        got += galaxies
        first_debt = max(first_debt, galaxies - burst, 0)
        assert 0 <= allowance.remaining <= burst
        # The last request may leave a debt, which those after it pay.
        assert got <= burst + rate * now + first_debt + 1e-3 * len(visits)
    # Another principal has its own bucket.
    assert rates.charge("b", 1).remaining == burst - 1


def test_only_known_principals_are_charged():
    own = Access(AuthSettings(secret=SECRET, rate_per_s=0.1, burst=3))
    request = RequestContext("rest", principal=who(own, bearer(hs256())))
    token = enter_request(request)
    try:
        own.charge(3)
        with pytest.raises(RateLimited):
            own.charge(1)
    finally:
        leave_request(token)
    assert request.allowance.remaining == 0
    for _ in range(10):
        own.charge(1)  # a call in the process


def test_scopes_do_not_imply_one_another(access):
    found = who(access, bearer(hs256(iss="https://idp", scope="admin")))
    for scope in ("infer", "read"):
        with pytest.raises(Forbidden) as refusal:
            access.require(found, scope)
        assert f'scope="{scope}"' in refusal.value.headers["WWW-Authenticate"]
    access.require(found, "admin")


OPEN = {"/health", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready",
        "/metrics", "/docs", "/openapi.json"}  # fmt: skip


def test_whatever_is_not_listed_needs_a_scope():
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        for method in methods:
            needed = scope_of(method.upper(), path)
            assert (needed is None) == (path in OPEN and method == "get"), (method, path)
            if method != "get" and not path.startswith("/api/v2/inference"):
                assert needed == "admin" or path.endswith("/infer")
    assert scope_of("GET", "/health/../api/v2/models") == "read"
    assert scope_of("GET", "/health/x") == "read"
    assert scope_of("POST", "/health") == "admin"
    assert scope_of("DELETE", "/api/v2/inference") == "admin"
    assert scope_of("POST", "/api/v2/inference/batch/../../models") == "admin"


@pytest.fixture
def guarded(database):
    """The application with authentication and without models, which nobody here asks."""
    own = Settings(
        auth={"secret": SECRET, "rate_per_s": 0.01, "burst": 3},
        inference={"models": ()},
        database={"url": database},
        server={"grpc_port": 0},
    )
    return create_app(own)


def test_rest_lets_in_whom_it_should(guarded):
    ask = question()

    async def calls() -> None:
        async with guarded.router.lifespan_context(guarded):
            transport = httpx.ASGITransport(guarded)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                for path in OPEN - {"/metrics"}:
                    assert (await client.get(path)).status_code == 200, path
                url = "/api/v2/inference/counterfactual"
                nobody = await client.post(url, json=ask)
                assert nobody.status_code == 401
                assert nobody.headers["www-authenticate"] == 'Bearer realm="acie"'
                assert nobody.json()["type"] == "urn:acie:problem:unauthenticated"
                head = {"Authorization": f"Bearer {hs256(scope='read')}"}
                short = await client.post(url, json=ask, headers=head)
                assert short.status_code == 403
                assert 'scope="infer"' in short.headers["www-authenticate"]
                load = await client.post("/api/v2/models", json={"name": "x"}, headers=head)
                assert load.status_code == 403
                # Refused before the body is read.
                junk = await client.post(url, content=b"{" * 10**6)
                assert junk.status_code == 401
                head = {"Authorization": f"Bearer {hs256()}"}
                passed = await client.post(url, json=ask, headers=head)
                assert passed.status_code == 404  # no model
                assert passed.headers["ratelimit-policy"] == '"galaxies";q=3;w=300'
                assert passed.headers["ratelimit"].startswith('"galaxies";r=2;t=')
                many = {"requests": [ask] * 2}
                assert (await client.post("/api/v2/inference/batch", json=many, headers=head)
                        ).status_code == 200  # fmt: skip
                over = await client.post(url, json=ask, headers=head)
                assert over.status_code == 429
                assert 90 <= int(over.headers["retry-after"]) <= 101
                other = {"Authorization": f"Bearer {hs256(sub='bob')}"}
                assert (await client.post(url, json=ask, headers=other)).status_code == 404

    asyncio.run(calls())


def test_grpc_lets_in_whom_it_should(guarded):
    from acie.serving.rpc._generated import acie_pb2 as pb
    from acie.serving.rpc._generated import acie_pb2_grpc

    async def calls() -> None:
        async with guarded.router.lifespan_context(guarded):
            target = f"127.0.0.1:{guarded.state.rpc.port}"
            async with grpc.aio.insecure_channel(target) as channel:
                stub = acie_pb2_grpc.ACIEInferenceStub(channel)

                async def code(method, request, token=None):
                    metadata = bearer(token) if token else ()
                    try:
                        await method(request, metadata=metadata)
                    except grpc.aio.AioRpcError as error:
                        return error.code().name
                    return "OK"

                ask, models = stub.CounterfactualInference, stub.ListModels
                empty = pb.InferenceRequest()
                assert await code(ask, empty) == "UNAUTHENTICATED"
                assert await code(models, pb.ListModelsRequest(), "x.y.z") == "UNAUTHENTICATED"
                assert await code(ask, empty, hs256(scope="read")) == "PERMISSION_DENIED"
                assert await code(models, pb.ListModelsRequest(), hs256(scope="infer")) == (
                    "PERMISSION_DENIED")  # fmt: skip
                # An empty spectrum is looked at only for those who may ask.
                assert await code(ask, empty, hs256()) == "INVALID_ARGUMENT"
                stream = stub.BatchInference(metadata=bearer(hs256(scope="read")))
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await stream.read()
                assert refusal.value.code() == grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(calls())


def test_logs_hold_no_secrets():
    key, token = make_key(), hs256()
    redaction = Redaction(["hunter2hunter2"])
    event = {
        "event": f"got {key} and Bearer abcdef, Authorization: Basic YWxhZGRpbjpvcGVu",
        "authorization": "whatever", "api_key": "whatever", "x-api-key": b"whatever",
        "url": "postgresql+psycopg://me:pass@db/x", "deep": [{"cookie": "whatever", "t": token}],
        "raw": f"x {token} y".encode(), "own": "is hunter2hunter2 here", "exception": f"E {key}",
        "count": 3, "path": "/api/v2/models/acie_model",
    }  # fmt: skip
    text = json.dumps(redaction(None, "info", event))
    for secret in (key, token, "whatever", ":pass@", "hunter2", "YWxhZGRpb", "abcdef"):
        assert secret not in text
    assert '"count": 3' in text
    assert "/api/v2/models/acie_model" in text
    assert "postgresql+psycopg://me:[hidden]@db/x" in text


def test_what_goes_through_logging_is_clean(capsys):
    from acie.serving.logs import configure_logs

    root = logging.getLogger()
    before = root.handlers[:], root.level
    key = make_key()
    try:
        configure_logs(Settings(auth={"secret": SECRET}, telemetry={"log_format": "json"}))
        logging.getLogger("third.party").warning("key %s", key, extra={"token": "abc"})
        try:
            raise ValueError(f"bad {key} {SECRET}")
        except ValueError:
            logging.getLogger("third.party").exception("failed")
    finally:
        root.handlers[:], root.level = before
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    text = json.dumps(lines)
    assert key not in text
    assert SECRET not in text
    assert lines[0]["message"] == "key [hidden]"
    assert lines[0]["log.level"] == "warning"
    assert lines[0]["log"]["logger"] == "third.party"
    assert "ValueError" in lines[1]["error"]["stack_trace"]
