"""The client against the running application, over both transports."""

import ast
import asyncio
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import httpx
import numpy as np
import pytest

from acie_sdk import (
    ACIEClient,
    APIConnectionError,
    AsyncACIEClient,
    BadRequestError,
    InvalidInputError,
    NotFoundError,
)

ROOT = Path(__file__).parents[3]
SDK = ROOT / "clients" / "python"
PATIENT = {"timeout": 120.0, "deadline": 240.0}
TRANSPORTS = ("rest", "grpc")


def address(live, transport):
    return live.url if transport == "rest" else live.rpc


@pytest.fixture(scope="module", params=TRANSPORTS)
def client(request, live):
    with ACIEClient(address(live, request.param), transport=request.param, **PATIENT) as client:
        yield client


def test_both_transports_give_the_same_answer(live, galaxy):
    found = {}
    for transport in TRANSPORTS:
        with ACIEClient(address(live, transport), transport=transport, **PATIENT) as client:
            found[transport] = client.infer(galaxy, "stellar_mass*=1.5", hold=["size"], seed=7)
    rest, rpc = found["rest"], found["grpc"]
    np.testing.assert_array_equal(rest.counterfactual, rpc.counterfactual)
    np.testing.assert_array_equal(rest.latent_state, rpc.latent_state)
    assert rest.latents == rpc.latents
    assert rest.counterfactual_latents == rpc.counterfactual_latents
    assert rest.latents["size"] == rest.counterfactual_latents["size"]
    assert rest.interventions == rpc.interventions == ("stellar_mass*=1.5",)
    assert (rest.model.digest, rest.redshift, rest.quality) == (
        rpc.model.digest, rpc.redshift, rpc.quality,
    )  # fmt: skip


def test_an_answer_is_what_the_engine_says(client, live, galaxy):
    answer = client.infer(galaxy, {"dust_av": 0.0, "metallicity": {"shift_dex": 0.1}}, seed=2)
    variables = live.resources.service.registry.find().engine.scm.variables
    assert set(answer.latent_names) == set(variables) - {"redshift"}
    assert answer.counterfactual_latents["dust_av"].median == 0.0
    is_, would = answer.latents["metallicity"], answer.counterfactual_latents["metallicity"]
    assert would.median / is_.median == pytest.approx(10**0.1, rel=1e-5)
    assert answer.counterfactual.dtype == np.float32
    assert answer.counterfactual.shape == answer.wavelength.shape == (6000,)
    assert (answer.counterfactual_p16 <= answer.counterfactual_p84).all()
    assert 0.0 < answer.confidence <= 1.0
    assert answer.timing_ms > 0.0
    assert "galaxy-v1" in repr(answer)
    assert "dust_av=0" in repr(answer)
    assert all(name in answer.table() for name in answer.latent_names)
    assert max(map(len, answer.table().splitlines())) <= 100


@pytest.mark.parametrize("form", ["mapping", "attributes", "arrays", "quantity", "wavelength"])
def test_spectra_come_in_many_forms(client, galaxy, arrays, form):
    class Attributes:
        flux, ivar, lsf = arrays["flux"].tolist(), arrays["ivar"], arrays["lsf"]
        redshift = np.float64(arrays["redshift"])

    unit = 1e-17 * u.erg / u.s / u.cm**2 / u.AA
    given = {
        "mapping": arrays,
        "attributes": Attributes(),
        "arrays": {k: v for k, v in arrays.items() if v is not None} | {"name": "a"},
        "quantity": {**arrays, "flux": (arrays["flux"] * unit).to(u.W / u.m**2 / u.um)},
        "wavelength": {**arrays, "wavelength": galaxy.wavelength},
    }[form]
    answer = client.infer(given, "age-=1", seed=3)
    expected = client.infer(galaxy, "age-=1", seed=3)
    # Converting units back and forth rounds; nothing else may differ.
    rtol = 1e-3 if form == "quantity" else 0.0
    np.testing.assert_allclose(answer.counterfactual, expected.counterfactual, rtol=rtol)


def test_bad_pixels_travel(client, arrays):
    flux, ivar = arrays["flux"].copy(), arrays["ivar"].copy()
    flux[100:120] = np.nan
    ivar[100:120] = 0.0
    bad = client.infer({**arrays, "flux": flux, "ivar": ivar}, seed=4)
    mask = np.isnan(flux)
    masked = client.infer({**arrays, "mask": mask}, seed=4)
    np.testing.assert_array_equal(bad.latent_state, masked.latent_state)


def test_a_batch_keeps_its_order_and_tells_of_its_progress(client, galaxy):
    values = [0.0, 0.25, 0.5, 0.75, 1.0]
    told = []
    answers = client.infer_batch(
        [galaxy] * len(values),
        [{"dust_av": value} for value in values],
        progress=lambda done, total: told.append((done, total)),
    )
    assert [a.counterfactual_latents["dust_av"].median for a in answers] == values
    assert told == [(i + 1, len(values)) for i in range(len(values))]
    assert len({answer.request_id for answer in answers}) == len(values)


def test_a_batch_with_a_bad_question(client, galaxy):
    questions = ["dust_av=0", "stellar_mass=1.5", None]
    first, second, third = client.infer_batch([galaxy] * 3, questions, return_errors=True)
    assert first.interventions == ("dust_av=0",)
    assert isinstance(second, BadRequestError)
    assert third.interventions == ()
    with pytest.raises(BadRequestError):
        client.infer_batch([galaxy] * 3, questions)


def test_an_observation_with_a_galaxy_axis_is_a_batch(client, galaxy):
    batch = {name: np.stack([getattr(galaxy, name).numpy()] * 2) for name in ("flux", "ivar")}
    answers = client.infer_batch({**batch, "redshift": [0.08, 0.09]}, "dust_av=0")
    assert [round(answer.redshift, 2) for answer in answers] == [0.08, 0.09]
    with pytest.raises(InvalidInputError, match="one galaxy"):
        client.infer(batch)


def test_refusals_say_what_is_wrong_and_what_to_do(client, galaxy):
    with pytest.raises(BadRequestError) as caught:
        client.infer(galaxy, "stellar_mass=1.5", request_id="my-request")
    error = caught.value
    assert error.status == 422
    assert error.argument == "stellar_mass"
    assert error.found == "1.5"
    assert "scale 1.5" in error.remedy
    assert "1e+06" in error.expected
    assert error.attempts == 1
    assert error.request_id
    with pytest.raises(NotFoundError) as caught:
        client.infer(galaxy, model_version="no-such-model")
    assert caught.value.argument == "model_version"
    with pytest.raises(NotFoundError):
        client.graph("no-such-model")


def test_the_service_describes_itself(client, live):
    (model,) = client.models()
    assert (model.name, model.latest) == ("galaxy-v1", True)
    scm = live.resources.service.registry.find().engine.scm
    graph = client.graph()
    assert [variable.name for variable in graph.variables] == list(scm.variables)
    assert set(graph.parents("sfr")) == set(scm.graph.parents("sfr"))
    assert client.health().ready
    try:
        live.resources.ready = False
        assert not client.health().ready
    finally:
        live.resources.ready = True


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_asynchronous_twin(live, galaxy, transport):
    async def main():
        url = address(live, transport)
        async with AsyncACIEClient(url, transport=transport, **PATIENT) as client:
            one = await client.infer(galaxy, "dust_av=0", seed=11)
            told = []
            many = await client.infer_batch(
                [galaxy] * 3, ["dust_av=0", "no_such=1", "dust_av=1"], seed=11,
                return_errors=True, progress=lambda done, total: told.append(done),
            )  # fmt: skip
            return (
                one,
                many,
                told,
                await client.models(),
                await client.graph(),
                (await client.health()),
            )

    one, many, told, models, graph, health = asyncio.run(main())
    np.testing.assert_array_equal(one.counterfactual, many[0].counterfactual)
    assert isinstance(many[1], BadRequestError)
    assert many[2].interventions == ("dust_av=1",)
    assert told == [1, 2, 3]
    assert models[0].name == "galaxy-v1"
    assert len(graph.variables) == 14
    assert health.ready


def test_the_asynchronous_client_needs_no_sockets(live, galaxy):
    async def main():
        # httpx calls the application itself; it must run on the loop that it was started on.
        transport = httpx.ASGITransport(live.app)
        async with AsyncACIEClient("http://acie", http_transport=transport, **PATIENT) as client:
            return await client.infer(galaxy, "dust_av=0")

    assert live.call(main).interventions == ("dust_av=0",)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_there(transport):
    with (
        ACIEClient("http://127.0.0.1:9", transport=transport, retries=1) as client,
        pytest.raises(APIConnectionError) as caught,
    ):
        client.models()
    assert caught.value.attempts == 2


@pytest.mark.parametrize(
    ("observation", "intervention", "options"),
    [
        ({}, None, {}),
        ({"flux": [1.0, float("inf")]}, None, {}),
        ({"flux": ["a"]}, None, {}),
        ({"flux": [1.0, 2.0], "ivar": [1.0]}, None, {}),
        ({"flux": [1.0], "fluks": [1.0]}, None, {}),
        (np.ones((2, 2, 2)), None, {}),
        (np.ones(3), {"dust_av": "much"}, {}),
        (np.ones(3), {"dust_av": {"scale": 1, "shift": 1}}, {}),
        (np.ones(3), [1.0], {}),
        (np.ones(3), None, {"samples": 1}),
        (np.ones(3), None, {"seed": -1}),
    ],
)
def test_what_cannot_be_sent_is_refused_before(observation, intervention, options):
    # Nothing listens on this port: an attempt to send would be a connection error.
    with ACIEClient("http://127.0.0.1:9") as client, pytest.raises(InvalidInputError):
        client.infer(observation, intervention, **options)


@pytest.mark.parametrize(
    "arguments",
    [{"api_url": "ftp://x"}, {"api_url": "nonsense"}, {"transport": "smoke"}, {"timeout": 0.0},
     {"deadline": -1.0}, {"concurrency": 0}],
)  # fmt: skip
def test_clients_that_cannot_work_are_refused(arguments):
    with pytest.raises(InvalidInputError):
        ACIEClient(**arguments)


def test_keys_stay_out_of_sight():
    with ACIEClient("http://127.0.0.1:9", api_key="very-secret") as client:
        assert "very-secret" not in repr(client)


def test_the_package_needs_neither_torch_nor_acie():
    for path in (SDK / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"acie", "torch"}, path
    code = (
        f"import sys; sys.path.insert(0, {str(SDK / 'src')!r}); import acie_sdk;"
        "sys.stdout.write(str([n for n in ('torch', 'acie', 'grpc') if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]"
