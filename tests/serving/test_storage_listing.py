"""``GET /api/v2/inferences`` over the application, on both databases."""

import contextlib
import datetime
import time

import httpx
import jwt
import pytest
from examples import a_record, run

from acie.serving import Settings, create_app

SECRET = "s" * 40
URL = "/api/v2/inferences"
NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


@contextlib.asynccontextmanager
async def served(url, records, auth=None):
    """A client of a service without models, whose log holds records."""
    settings = Settings(
        inference={"models": ()}, server={"grpc_port": None}, auth=auth or {},
        database={"url": url, "migrate": True, "flush_s": 0.05, "retention_days": 36500},
    )  # fmt: skip
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await app.state.resources.log.repository.write(records)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://acie") as client:
            yield client


def test_pages_and_filters(database_url):
    records = [a_record(time=NOW + k * MINUTE, quality=k, confidence=k / 10) for k in range(10)]

    async def check():
        async with served(database_url, records) as client:
            found, cursor = [], None
            while True:
                page = {"limit": 3} | ({"cursor": cursor} if cursor else {})
                body = (await client.get(URL, params=page)).raise_for_status().json()
                assert len(body["inferences"]) <= 3
                found += body["inferences"]
                cursor = body["next"]
                if cursor is None:
                    break
            assert [one["id"] for one in found] == [str(one.id) for one in reversed(records)]
            assert found[0]["quality"] == ["LOW_CONFIDENCE", "LOW_SNR"]  # 9 = 1 + 8
            assert found[0]["model"] == {"name": "galaxy", "version": "1", "digest": "d" * 64}
            assert "observation" not in found[0]

            async def ids(**wish):
                body = (await client.get(URL, params=wish)).raise_for_status().json()
                return [int(round(one["confidence"] * 10)) for one in body["inferences"]]

            zone = datetime.timezone(datetime.timedelta(hours=-7))
            since = (NOW + 7 * MINUTE).astimezone(zone).isoformat()
            assert await ids(since=since) == [9, 8, 7]
            assert await ids(until=(NOW + 2 * MINUTE).isoformat()) == [1, 0]
            assert await ids(min_confidence=0.75) == [9, 8]
            assert await ids(quality="LOW_SNR") == [9, 8]
            assert await ids(quality=["LOW_SNR", "OUT_OF_DISTRIBUTION"]) == [9, 8, 7, 6, 5, 4]
            assert await ids(model="' OR 1=1 --") == []
            assert await ids(principal="x'; DROP TABLE inferences; --") == []
            assert len(await ids()) == 10

    run(check())


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "min_confidence=nan", "min_confidence=2", "quality=ODD",
     "status=fine", "since=yesterday", "since=2026-01-01T00:00:00", "since=0001-01-01T00:00:00Z",
     "until=9999-12-31T23:59:59-14:00", "cursor=x", "cursor=%00", "cursor=" + "A" * 99,
     "cursor=MjAyNi0wMy0wMVQxMjowMDowMCAw", "model=%00", "principal=a%00b", "model=" + "a" * 201,
     "offset=3", "limit=1;DROP TABLE inferences", "since=1e400", "until=-1e18"],
)  # fmt: skip
def test_bad_filters_are_refused(query, listing):
    status, body = listing(f"{URL}?{query}")
    assert status == 422
    assert body["expected"]


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    """Asks one question of an empty log."""
    url = f"sqlite:///{tmp_path_factory.mktemp('log') / 'acie.db'}"

    async def ask(query):
        async with served(url, []) as client:
            reply = await client.get(query)
            return reply.status_code, reply.json()

    return lambda query: run(ask(query))


def token(name, scope):
    claims = {"sub": name, "scope": scope, "aud": "acie", "exp": time.time() + 600}
    return {"Authorization": "Bearer " + jwt.encode(claims, SECRET, "HS256")}


def test_without_the_scope_admin_one_sees_ones_own(tmp_path):
    records = [a_record(principal=f"token:{name}") for name in ("ann", "bob", "bob")]
    url = f"sqlite:///{tmp_path / 'acie.db'}"

    async def check():
        async with served(url, records, {"secret": SECRET}) as client:

            async def seen(name, scope, **wish):
                reply = await client.get(URL, params=wish, headers=token(name, scope))
                if reply.status_code != 200:
                    return reply.status_code
                return sorted(one["principal"] for one in reply.json()["inferences"])

            assert (await client.get(URL)).status_code == 401
            assert await seen("bob", "infer") == 403
            assert await seen("ann", "read") == ["token:ann"]
            assert await seen("bob", "read", principal="token:bob") == ["token:bob"] * 2
            assert await seen("bob", "read", principal="token:ann") == 403
            # A key of the same name is somebody else.
            assert await seen("key:bob", "read") == []
            assert len(await seen("root", "read admin")) == 3
            assert await seen("root", "read admin", principal="token:ann") == ["token:ann"]

    run(check())


def test_a_database_that_is_away_is_a_503(postgres_server, postgres_url):
    async def check():
        async with served(postgres_url, [a_record()]) as client:
            postgres_server.kill()
            try:
                reply = await client.get(URL)
                assert reply.status_code == 503
                assert int(reply.headers["Retry-After"]) > 0
                assert reply.json()["type"] == "urn:acie:problem:storage-unavailable"
                assert "psycopg" not in reply.text
                assert (await client.get("/health/ready")).status_code == 200
            finally:
                postgres_server.start()
            assert len((await client.get(URL)).json()["inferences"]) == 1

    run(check())
