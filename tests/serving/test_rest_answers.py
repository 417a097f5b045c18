"""Answers over REST are those of the engine, in both forms, one by one and in batches."""

import asyncio
import copy
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgpack
import numpy as np
import pytest
import torch

import acie
from acie.report import result_to_json
from acie.serving.rest.idempotency import IdempotencyStore

URL = "/api/v2/inference/counterfactual"


def binary(galaxy):
    """The same request with raw arrays."""
    request = copy.deepcopy(galaxy)
    own = request["observation"]
    for name in ("flux", "ivar", "lsf"):
        values = np.array(own[name], dtype="<f8")
        own[name] = {"dtype": "float64", "shape": [len(values)], "data": values.tobytes()}
    return msgpack.packb(request)


def array(value):
    return np.frombuffer(value["data"], np.dtype(value["dtype"]).newbyteorder("<"))


@pytest.fixture(scope="module")
def answer(rest, galaxy):
    response = rest.post(URL, json={**galaxy, "seed": 7})
    assert response.status_code == 200, response.text[:300]
    return response.json()


def test_an_answer_is_that_of_the_engine(rest_app, galaxy, answer):
    own = galaxy["observation"]
    observation = acie.io.from_arrays(**own)
    engine = rest_app.state.resources.service.registry.find().engine
    result = engine.counterfactual(
        observation, galaxy["intervention"], num_samples=16,
        generator=torch.Generator().manual_seed(7),
    )  # fmt: skip
    change = result.change[:, 0].double().quantile(0.5, dim=0)
    expected = (result.observation.flux[0].double() + change).float().numpy()
    np.testing.assert_array_equal(np.float32(answer["counterfactual"]), expected)
    assert answer["confidence"] == pytest.approx(float(result.confidence[0]), rel=1e-12)
    medians = [float(result.abduction.posterior.values[name][:, 0].quantile(0.5))
               for name in answer["latent_names"]]  # fmt: skip
    np.testing.assert_allclose(answer["latent_state"], medians, rtol=1e-12)
    # Intervals too are those of the command line, which allow for the number of draws.
    told = result_to_json(result, engine.bundle, engine.scm.variables, source="", timing_ms=0.0)
    assert answer["latents"] == told["latent_state"]
    assert answer["counterfactual_latents"] == told["counterfactual_state"]
    mass, moved = (answer[key]["stellar_mass"] for key in ("latents", "counterfactual_latents"))
    assert moved["median"] == pytest.approx(1.5 * mass["median"], rel=1e-9)
    assert answer["model"] == {"name": "galaxy-v1", "version": "1",
                               "digest": engine.bundle.digest}  # fmt: skip


def test_both_forms_say_the_same(rest, galaxy, answer):
    body = msgpack.unpackb(binary(galaxy))
    response = rest.post(
        "/api/v2/inference",
        content=msgpack.packb({**body, "seed": 7}),
        headers={"Content-Type": "application/msgpack", "Accept": "application/msgpack"},
    )
    found = msgpack.unpackb(response.content)
    assert set(found) == set(answer)
    for name in ("counterfactual", "counterfactual_p16", "counterfactual_p84"):
        assert found[name]["shape"] == [6000]
        np.testing.assert_array_equal(array(found[name]), np.float32(answer[name]))
    same = set(answer) - {
        "counterfactual",
        "counterfactual_p16",
        "counterfactual_p84",
        "timing_ms",
        "cached",
    }
    assert (found["cached"], answer["cached"]) == (True, False)
    assert {name: found[name] for name in same} == {name: answer[name] for name in same}


def test_bad_pixels_are_null_or_masked_or_not_a_number(rest, galaxy):
    bad = slice(100, 140)
    plain, masked, raw = (copy.deepcopy(galaxy) | {"seed": 1} for _ in range(3))
    plain["observation"]["flux"][bad] = [None] * 40
    masked["observation"]["mask"] = [bad.start <= i < bad.stop for i in range(6000)]
    values = np.array(raw["observation"]["flux"], dtype="<f8")
    values[bad] = np.nan
    raw["observation"]["flux"] = {"dtype": "float64", "shape": [6000], "data": values.tobytes()}
    answers = [rest.post(URL, json=body).json() for body in (plain, masked)]
    kind = {"Content-Type": "application/msgpack"}
    answers.append(rest.post(URL, content=msgpack.packb(raw), headers=kind).json())
    for one in answers[1:]:
        assert one["latent_state"] == answers[0]["latent_state"]


def test_an_unknown_redshift_is_estimated_and_said_so(rest, galaxy):
    body = copy.deepcopy(galaxy)
    truth = body["observation"].pop("redshift")
    answer = rest.post(URL, json=body).json()
    estimate = answer["redshift_estimate"]
    assert "REDSHIFT_ESTIMATED" in answer["quality"]
    assert answer["redshift"] == estimate["value"]
    # Five standard errors, with what is left of a pixel of 1 angstrom at 5000.
    assert abs(estimate["value"] - truth) < 5 * estimate["error"] + 1e-5
    assert set(estimate) == {"value", "error", "delta_chi2", "second"}


def test_a_given_redshift_is_checked_on_request(rest, galaxy, answer):
    assert answer["redshift_estimate"] is None
    wrong = copy.deepcopy(galaxy)
    wrong["observation"]["redshift"] = 0.3
    assert "REDSHIFT_CONFLICT" not in rest.post(URL, json=wrong).json()["quality"]
    checked = rest.post(URL, json={**wrong, "check_redshift": True}).json()
    assert "REDSHIFT_CONFLICT" in checked["quality"]
    good = rest.post(URL, json={**galaxy, "check_redshift": True}).json()
    assert "REDSHIFT_CONFLICT" not in good["quality"]


def test_a_plain_list_is_a_spectrum(rest, galaxy):
    own = galaxy["observation"]
    body = {"observation": own["flux"], "redshift": own["redshift"], "intervention": {}}
    answer = rest.post(URL, json=body).json()
    assert answer["interventions"] == []
    assert "NOISE_ESTIMATED" in answer["quality"]
    # Nothing was done: the spectrum is what was observed.
    np.testing.assert_array_equal(np.float32(answer["counterfactual"]), np.float32(own["flux"]))


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"intervention": "mass=1.5"}, 422, "outside-support"),
        ({"intervention": {"nothing": 1}}, 422, "unknown-variable"),
        ({"intervention": ["age=1", "age=2"]}, 422, "conflicting-interventions"),
        ({"intervention": "age>1"}, 422, "configuration-error"),
        ({"hold": ["stellar_mass"]}, 422, "conflicting-interventions"),
        ({"samples": 33}, 422, "configuration-error"),
        ({"model_version": "galaxy-v1@9"}, 404, "unknown-model"),
    ],
)
def test_questions_that_cannot_be_asked(rest, galaxy, change, status, kind):
    response = rest.post(URL, json={**galaxy, **change})
    assert (response.status_code, response.json()["type"]) == (status, f"urn:acie:problem:{kind}")


@pytest.mark.parametrize("accept", ["application/json", "application/msgpack"])
def test_in_a_batch_everybody_fails_alone(rest, galaxy, accept):
    far = copy.deepcopy(galaxy)
    far["observation"]["redshift"] = 5.0
    dark = copy.deepcopy(galaxy)
    dark["observation"]["ivar"] = [0.0] * 6000
    requests = [galaxy, 5, {**galaxy, "intervention": "age=99"}, {"observation": []}, dark, far,
                {**galaxy, "intervention": "dust_av=0"}]  # fmt: skip
    response = rest.post(
        "/api/v2/inference/batch", json={"requests": requests}, headers={"Accept": accept}
    )
    decode = msgpack.unpackb if accept.endswith("msgpack") else httpx.Response.json
    found = decode(response.content if accept.endswith("msgpack") else response)
    answers = found["answers"]
    assert [one.get("status") for one in answers] == [None, 422, 422, 422, 422, 422, None]
    assert answers[0]["interventions"] == ["stellar_mass*=1.5"]
    assert answers[6]["interventions"] == ["dust_av=0"]
    assert answers[4]["instance"] == "/api/v2/inference/batch#/requests/4"
    assert answers[5]["argument"] == "redshift"


def test_batches_have_a_limit(rest):
    response = rest.post("/api/v2/inference/batch", json={"requests": [1] * 9})
    assert response.status_code == 422
    assert response.json()["expected"] == "at most 8"


# -- idempotency ----------------------------------------------------------------------------------


def test_a_key_gets_one_answer(rest, galaxy):
    key = {"Idempotency-Key": "first-of-its-name"}
    first, second = (rest.post(URL, json=galaxy, headers=key) for _ in range(2))
    assert first.headers["Idempotency-Replayed"] == "false"
    assert second.headers["Idempotency-Replayed"] == "true"
    # Without a seed two computations never agree.
    assert first.content == second.content
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    other = rest.post(URL, json={**galaxy, "intervention": "dust_av=0"}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "urn:acie:problem:key-reused")
    stranger = rest.post(
        URL, json={**galaxy, "samples": 2}, headers=key | {"X-API-Key": "another"}
    )
    assert stranger.status_code == 200


def test_a_key_is_computed_once_for_all_who_ask_at_a_time(rest_url, galaxy):
    headers = {"Idempotency-Key": "together"}

    def ask(_):
        return httpx.post(rest_url + URL, json=galaxy, headers=headers, timeout=60)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    assert len({response.content for response in found}) == 1
    replayed = [response.headers["Idempotency-Replayed"] for response in found]
    assert replayed.count("false") == 1


def test_failures_are_not_kept(rest, galaxy):
    key = {"Idempotency-Key": "second-try"}
    assert (
        rest.post(URL, json={**galaxy, "intervention": "age=99"}, headers=key).status_code == 422
    )
    assert rest.post(URL, json={**galaxy, "samples": 2}, headers=key).status_code == 200


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "é"])
def test_malformed_keys_are_refused(rest, galaxy, key):
    response = rest.post(URL, json=galaxy, headers={b"Idempotency-Key": key.encode("latin-1")})
    assert response.status_code == 400


def test_the_oldest_answers_make_room():
    async def story():
        store, made = IdempotencyStore(max_bytes=250, ttl_s=60.0), []

        async def ask(key):
            async def compute():
                made.append(key)
                return response_of(b"x" * 100)

            return (await store.get(key, b"same", compute))[1]

        for key in (b"a", b"b", b"c"):
            assert not await ask(key)
        assert await ask(b"c")
        assert await ask(b"b")
        assert not await ask(b"a")
        assert made == [b"a", b"b", b"c", b"a"]

    asyncio.run(story())


def test_who_leaves_does_not_take_the_answer_along():
    async def story():
        store, release = IdempotencyStore(), asyncio.Event()

        async def compute():
            await release.wait()
            return response_of(b"answer")

        first = asyncio.create_task(store.get(b"k", b"f", compute))
        await asyncio.sleep(0)
        second = asyncio.create_task(store.get(b"k", b"f", compute))
        await asyncio.sleep(0)
        first.cancel()
        release.set()
        response, known = await second
        assert known
        assert response.body == b"answer"

    asyncio.run(story())


def response_of(body):
    from fastapi import Response

    return Response(body)


# -- Open Inference Protocol ----------------------------------------------------------------------


def tensors(galaxy, count=1, **changes):
    own = galaxy["observation"]
    given = {
        "flux": ([count, 6000], "FP32", own["flux"] * count),
        "ivar": ([count, 6000], "FP32", [own["ivar"]] * count),
        "lsf": ([count, 6000], "FP64", own["lsf"] * count),
        "redshift": ([count], "FP64", [own["redshift"]] * count),
        "intervention": ([1], "BYTES", [galaxy["intervention"]]),
    } | changes
    return [{"name": name, "shape": shape, "datatype": datatype, "data": data}
            for name, (shape, datatype, data) in given.items()]  # fmt: skip


def test_the_open_inference_protocol_gives_the_same_answer(rest, galaxy, answer):
    metadata = rest.get("/v2/models/galaxy-v1").json()
    assert metadata["versions"] == ["1"]
    body = {"id": "42", "inputs": tensors(galaxy), "parameters": {"seed": 7}}
    found = rest.post("/v2/models/galaxy-v1/versions/1/infer", json=body).json()
    assert (found["id"], found["model_name"], found["model_version"]) == ("42", "galaxy-v1", "1")
    assert found["parameters"]["latent_names"].split(",") == answer["latent_names"]
    outputs = {tensor["name"]: tensor for tensor in found["outputs"]}
    for declared in metadata["outputs"]:
        tensor = outputs[declared["name"]]
        assert tensor["datatype"] == declared["datatype"]
        assert [1 if n == -1 else n for n in declared["shape"]] == tensor["shape"]
        assert len(tensor["data"]) == np.prod(tensor["shape"])
    np.testing.assert_array_equal(
        np.float32(outputs["counterfactual"]["data"]), np.float32(answer["counterfactual"])
    )
    assert outputs["latent_state"]["data"] == answer["latent_state"]
    assert outputs["confidence"]["data"] == [answer["confidence"]]


def test_its_batches_and_chosen_outputs(rest, galaxy):
    questions = ([2], "BYTES", ["dust_av=0", "stellar_mass*=2"])
    body = {
        "inputs": tensors(galaxy, 2, intervention=questions),
        "outputs": [{"name": "confidence"}],
    }
    found = rest.post("/v2/models/galaxy-v1/infer", json=body).json()
    assert "id" not in found
    assert [(t["name"], t["shape"]) for t in found["outputs"]] == [("confidence", [2])]


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"flux": ([1, 5999], "FP32", [1.0] * 5999)}, "inputs.flux"),
        ({"flux": ([1, 6000], "FP32", [1.0] * 5999)}, "inputs.flux"),
        ({"flux": ([1, 6000], "INT8", [1.0] * 6000)}, "inputs.flux"),
        ({"flux": ([9, 6000], "FP32", [])}, "inputs.flux"),
        ({"ivar": ([1, 6000], "FP32", ["1"] * 6000)}, "inputs.ivar"),
        ({"redshift": ([2], "FP64", [0.1, 0.2])}, "inputs.redshift"),
        ({"intervention": ([1], "BYTES", [5])}, "inputs.intervention"),
        ({"other": ([1], "FP32", [5.0])}, "inputs"),
        ({"intervention": ([1], "BYTES", ["age=99"])}, "age"),
    ],
)
def test_its_errors(rest, galaxy, change, argument):
    response = rest.post("/v2/models/galaxy-v1/infer", json={"inputs": tensors(galaxy, **change)})
    document = response.json()
    assert response.status_code == 422
    assert document["argument"] == argument
    assert document["error"] == document["detail"]


def test_its_server_and_its_models(rest):
    assert rest.get("/v2").json() == {
        "name": "acie",
        "version": acie.__version__,
        "extensions": ["binary_tensor_data"],
    }
    assert rest.get("/v2/health/live").json() == {"live": True}
    assert rest.get("/v2/health/ready").json() == {"live": True, "ready": True}
    for path in ("galaxy-v1", "galaxy-v1/versions/1"):
        assert rest.get(f"/v2/models/{path}/ready").json() == {"name": "galaxy-v1", "ready": True}
    for path in ("other", "galaxy-v1/versions/2"):
        response = rest.get(f"/v2/models/{path}/ready")
        assert response.status_code == 404
        assert "error" in response.json()


def packed(galaxy, **sizes):
    """The head and the bytes of a request with binary tensors, laid out as the extension says."""
    own = galaxy["observation"]
    data = {name: np.array(own[name], "<f4").tobytes() for name in ("flux", "ivar")}
    text = galaxy["intervention"].encode()
    data["intervention"] = len(text).to_bytes(4, "little") + text
    shapes = {"flux": [1, 6000], "ivar": [1, 6000], "intervention": [1]}
    inputs = [
        {
            "name": name,
            "shape": shapes[name],
            "datatype": "BYTES" if name == "intervention" else "FP32",
            "parameters": {"binary_data_size": sizes.get(name, len(raw))},
        }
        for name, raw in data.items()
    ]
    inputs.append(tensors(galaxy)[3])
    outputs = [{"name": "confidence"}] + [
        {"name": name, "parameters": {"binary_data": True}}
        for name in ("counterfactual", "quality")
    ]
    body = {"inputs": inputs, "outputs": outputs, "parameters": {"seed": 7}}
    return json.dumps(body).encode(), b"".join(data.values())


def test_tensors_may_be_bytes(rest, galaxy):
    head, data = packed(galaxy)
    url = "/v2/models/galaxy-v1/infer"
    sent = {"Inference-Header-Content-Length": str(len(head))}
    response = rest.post(url, content=head + data, headers=sent)
    assert response.status_code == 200, response.text[:300]
    length = int(response.headers["Inference-Header-Content-Length"])
    found = json.loads(response.content[:length])
    confidence, flux, quality = found["outputs"]
    assert confidence["data"][0] > 0
    assert flux["parameters"] == {"binary_data_size": 24000}
    assert len(response.content) == length + 24000 + quality["parameters"]["binary_data_size"]
    # The same question as JSON, without the resolution that this request leaves out too.
    own = [one for one in tensors(galaxy) if one["name"] != "lsf"]
    plain = rest.post(url, content=json.dumps({"inputs": own, "parameters": {"seed": 7}}))
    expected = next(t for t in plain.json()["outputs"] if t["name"] == "counterfactual")
    values = np.frombuffer(response.content[length : length + 24000], "<f4")
    np.testing.assert_allclose(values, np.float32(expected["data"]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("length", "sizes"),
    [(None, {"flux": 23999}), (None, {"flux": -1}), (None, {"flux": 2**40}), (None, {"ivar": 8}),
     (None, {"flux": "24000"}), ("99999999", {}), ("x", {}), ("-1", {}), ("10", {})],
)  # fmt: skip
def test_bytes_that_do_not_fit_are_refused(rest, galaxy, length, sizes):
    head, data = packed(galaxy, **sizes)
    sent = {"Inference-Header-Content-Length": length or str(len(head))}
    response = rest.post("/v2/models/galaxy-v1/infer", content=head + data, headers=sent)
    assert response.status_code == 400
    assert response.json()["error"]
