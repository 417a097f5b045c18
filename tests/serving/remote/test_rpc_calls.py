"""Questions over gRPC to the real application."""

import asyncio
import itertools

import grpc
import httpx
import numpy as np
import pytest

from acie.serving.rpc import convert
from acie.serving.rpc._generated import acie_pb2 as pb
from acie.serving.rpc._generated import acie_pb2_grpc

TIMEOUT = 120.0


@pytest.fixture(scope="module")
def stub(live):
    limit = (("grpc.max_send_message_length", -1),)
    with grpc.insecure_channel(live.rpc, options=limit) as channel:
        yield acie_pb2_grpc.ACIEInferenceStub(channel)


_count = itertools.count(1)


@pytest.fixture
def request_of(arrays):
    def make(*text, actions=(), redshift=arrays["redshift"], **members):
        if not text and not actions:
            # Equal questions would share one answer.
            text = (f"dust_av={next(_count) / 1e4:.4f}",)
        observation = pb.Observation(redshift=redshift)
        for name in ("flux", "ivar", "lsf"):
            getattr(observation, name).extend(arrays[name].tolist())
        intervention = pb.Intervention(text=text, actions=actions)
        return pb.InferenceRequest(observation=observation, intervention=intervention, **members)

    return make


def refusal(stub, request, **options):
    """The error of a call, and the problem in its trailing metadata."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.CounterfactualInference(request, **{"timeout": TIMEOUT, **options})
    trailing = dict(caught.value.trailing_metadata())
    raw = trailing.get("acie-problem-bin")
    return caught.value, raw and pb.Problem.FromString(raw), trailing


def test_the_answer_is_that_of_rest(live, stub, request_of, arrays):
    answer = stub.CounterfactualInference(request_of("stellar_mass*=1.5", seed=5), timeout=TIMEOUT)
    observation = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in arrays.items()}
    body = {"observation": observation, "intervention": "stellar_mass*=1.5", "seed": 5}
    url = f"{live.url}/api/v2/inference/counterfactual"
    rest = httpx.post(url, json=body, timeout=TIMEOUT).json()
    for name in ("counterfactual", "counterfactual_p16", "counterfactual_p84"):
        np.testing.assert_array_equal(
            np.array(getattr(answer, name)), np.array(rest[name], dtype=np.float32)
        )
    assert list(answer.latent_names) == rest["latent_names"]
    assert list(answer.latent_state) == rest["latent_state"]
    for name in ("latents", "counterfactual_latents"):
        states = getattr(answer, name)
        fields = ("unit", "median", "p16", "p84")
        assert {n: {f: getattr(s, f) for f in fields} for n, s in states.items()} == rest[name]
    assert answer.confidence == rest["confidence"]
    assert answer.model.digest == rest["model"]["digest"]
    assert list(answer.interventions) == rest["interventions"] == ["stellar_mass*=1.5"]
    assert (answer.samples, answer.seed) == (rest["samples"], 5)


def test_actions_and_text_are_one_language(stub, request_of):
    action = pb.Action(variable="metallicity", shift_dex=0.1)
    told = stub.CounterfactualInference(request_of("metallicity+=0.1dex", seed=1), timeout=TIMEOUT)
    shown = stub.CounterfactualInference(request_of(actions=[action], seed=1), timeout=TIMEOUT)
    assert told.interventions == shown.interventions
    assert told.counterfactual == shown.counterfactual


@pytest.mark.parametrize(
    ("change", "argument", "code"),
    [
        ({"text": ["stellar_mass=1.5"]}, "stellar_mass", "INVALID_ARGUMENT"),
        ({"text": ["no_such=1"]}, None, "INVALID_ARGUMENT"),
        ({"text": ["dust_av="]}, None, "INVALID_ARGUMENT"),
        ({"text": ["dust_av=0"], "actions": [pb.Action(variable="age", set=1.0)]}, "intervention",
         "INVALID_ARGUMENT"),
        ({"actions": [pb.Action(variable="age")]}, "intervention.actions", "INVALID_ARGUMENT"),
        ({"actions": [pb.Action(variable="age", set=1.0), pb.Action(variable="age", set=2.0)]},
         "intervention.actions", "INVALID_ARGUMENT"),
        ({"actions": [pb.Action(variable="age", set=float("nan"))]}, None, "INVALID_ARGUMENT"),
        ({"model_version": "galaxy-v1@999"}, "model_version", "NOT_FOUND"),
        ({"model_version": "x" * 300}, "model_version", "INVALID_ARGUMENT"),
        ({"samples": 1}, "samples", "INVALID_ARGUMENT"),
        ({"samples": 10**9}, "samples", "INVALID_ARGUMENT"),
        ({"seed": 2**63}, "seed", "INVALID_ARGUMENT"),
        ({"hold": ["size"] * 21}, "hold", "INVALID_ARGUMENT"),
        ({"redshift": -3.0}, None, "INVALID_ARGUMENT"),
    ],
)  # fmt: skip
def test_bad_questions_say_what_is_wrong(stub, request_of, change, argument, code):
    change = dict(change)
    error, problem, _ = refusal(stub, request_of(*change.pop("text", ()), **change))
    assert error.code() is getattr(grpc.StatusCode, code)
    assert error.details() == problem.detail
    assert problem.status in (404, 422)
    assert problem.argument == argument if argument else problem.argument
    assert problem.expected
    assert problem.type.startswith("urn:acie:problem:")


@pytest.mark.parametrize(
    "observation",
    [
        pb.Observation(),
        pb.Observation(flux=[1.0] * 10),
        pb.Observation(flux=[float("nan")] * 6000, ivar=[1.0] * 6000),
        pb.Observation(flux=[1.0] * 6000, ivar=[1.0] * 5999),
        pb.Observation(flux=[1.0] * 20_001, wavelength=range(3600, 23_601)),
        pb.Observation(flux=[1.0] * 6000, mask=[True] * 6000),
        pb.Observation(flux=[1e30] * 6000, ivar=[1.0] * 6000),
        # Five megabytes: more than gRPC takes by default, and too many pixels.
        pb.Observation(flux=[1.0] * 1_300_000),
    ],
    ids=["none", "short", "nan", "unequal", "long", "masked", "unit", "5 MiB"],
)
def test_bad_spectra_are_refused(stub, observation):
    error, problem, _ = refusal(stub, pb.InferenceRequest(observation=observation))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert problem.type == "urn:acie:problem:malformed-spectrum"


def test_a_message_above_the_limit_is_refused_by_grpc(stub):
    flux = np.ones(9 * 2**20, dtype=np.float32).tolist()
    error, problem, _ = refusal(stub, pb.InferenceRequest(observation=pb.Observation(flux=flux)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert problem is None


def test_request_ids_come_back(stub, request_of):
    metadata = (("x-request-id", "from-metadata"),)
    assert stub.CounterfactualInference(
        request_of(request_id="own"), timeout=TIMEOUT
    ).request_id == "own"  # fmt: skip
    _, _, trailing = refusal(stub, request_of("no_such=1"), metadata=metadata)
    assert trailing["x-request-id"] == "from-metadata"
    _, _, trailing = refusal(stub, request_of("no_such=1", request_id="bad\nid"))
    assert "\n" not in trailing["x-request-id"]
    assert len(trailing["x-request-id"]) == 32


def test_models_and_graph_are_those_of_rest(live, stub):
    models = httpx.get(f"{live.url}/api/v2/models").json()["models"]
    found = stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT).models
    assert [(m.name, m.version, m.digest) for m in found] == [
        (m["name"], m["version"], m["digest"]) for m in models
    ]
    edges = httpx.get(f"{live.url}/api/v2/graph").json()["edges"]
    graph = stub.GetGraph(pb.GetGraphRequest(), timeout=TIMEOUT)
    assert {(e.cause, e.effect) for e in graph.edges} == {(e["cause"], e["effect"]) for e in edges}
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetGraph(pb.GetGraphRequest(model_version="none"), timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_deadline_ends_the_wait_and_frees_the_place(live, stub, request_of, eventually):
    with live.busy():
        # One is in the engine's hands; the next waits.
        first = stub.CounterfactualInference.future(request_of(), timeout=TIMEOUT)
        assert eventually(lambda: live.resources.service._batcher._in_work == 1)
        error, _, _ = refusal(stub, request_of(), timeout=1.0)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert eventually(lambda: live.waiting == 0)
    assert first.result().confidence > 0.0


def test_a_cancelled_call_leaves_the_queue(live, stub, request_of, eventually):
    with live.busy():
        calls = [stub.CounterfactualInference.future(request_of(), timeout=TIMEOUT)]
        assert eventually(lambda: live.resources.service._batcher._in_work == 1)
        calls += [
            stub.CounterfactualInference.future(request_of(), timeout=TIMEOUT) for _ in range(3)
        ]
        assert eventually(lambda: live.waiting == 3)
        calls[2].cancel()
        assert eventually(lambda: live.waiting == 2)
    assert all(call.result().confidence > 0.0 for call in calls if not call.cancelled())


def test_a_full_queue_says_when_to_come_back(live, stub, request_of, eventually):
    capacity = live.resources.settings.inference.queue
    with live.busy():
        calls = [stub.CounterfactualInference.future(request_of(), timeout=TIMEOUT)]
        assert eventually(lambda: live.resources.service._batcher._in_work == 1)
        calls += [
            stub.CounterfactualInference.future(request_of(), timeout=TIMEOUT)
            for _ in range(capacity)
        ]
        assert eventually(lambda: live.waiting == capacity)
        error, problem, trailing = refusal(stub, request_of())
        for call in calls:
            call.cancel()
        assert eventually(lambda: live.waiting == 0)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert problem.status == 503
    assert int(trailing["retry-after-ms"]) == int(trailing["grpc-retry-pushback-ms"]) > 0
    assert problem.retry_after_s == pytest.approx(int(trailing["retry-after-ms"]) / 1e3, abs=1e-3)


def test_a_stream_answers_every_question_and_survives_bad_ones(stub, request_of):
    texts = ["dust_av=0", "no_such=1", "dust_av=0.5", "stellar_mass=1.5", "dust_av=1"]
    requests = (request_of(text, request_id=f"q{i}") for i, text in enumerate(texts))
    answers = {a.request_id: a for a in stub.BatchInference(requests, timeout=TIMEOUT)}
    assert set(answers) == {f"q{i}" for i in range(len(texts))}
    for index, text in enumerate(texts):
        answer = answers[f"q{index}"]
        if index in (1, 3):
            assert answer.problem.status == 422
            assert not answer.counterfactual
        else:
            assert list(answer.interventions) == [text]
            assert not answer.HasField("problem")
            assert len(answer.counterfactual) == 6000


def test_a_stream_reads_only_as_far_ahead_as_it_has_room(live, stub, request_of, eventually):
    ahead = live.resources.settings.server.grpc_ahead
    count = 3 * ahead
    seen = []
    with live.busy():
        call = stub.BatchInference((request_of() for _ in range(count)), timeout=TIMEOUT)
        batcher = live.resources.service._batcher
        assert eventually(lambda: batcher.depth + batcher._in_work == ahead)
        # Longer than it would take to read the rest: nothing more may come in.
        for _ in range(30):
            seen.append(batcher.depth + batcher._in_work)
            eventually(lambda: False, 0.02)
    assert max(seen) == ahead
    assert sum(1 for _ in call) == count


def test_a_slow_reader_slows_the_writer(live, request_of, monkeypatch):
    count, ahead = 24, live.resources.settings.server.grpc_ahead
    read = itertools.count(1)
    seen = 0

    def counted(request, original=convert.query_of):
        nonlocal seen
        seen = next(read)
        return original(request)

    monkeypatch.setattr(convert, "query_of", counted)
    # Windows of 64 KB that do not grow: an answer has 72 KB.
    options = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 2**16))

    async def main():
        async with grpc.aio.insecure_channel(live.rpc, options=options) as channel:
            stub = acie_pb2_grpc.ACIEInferenceStub(channel)
            call = stub.BatchInference((request_of() for _ in range(count)), timeout=TIMEOUT)
            stable, before = 0, -1
            while stable < 6:  # three seconds without another question being read
                await asyncio.sleep(0.5)
                stable, before = (stable + 1, seen) if seen == before else (0, seen)
            stopped_at, answers = seen, 0
            while (await call.read()) is not grpc.aio.EOF:
                answers += 1
            return stopped_at, answers

    stopped_at, answers = asyncio.run(main())
    # Those in work, one answer in the window, and one or two in the buffers of both ends.
    assert ahead <= stopped_at <= ahead + 4
    assert answers == count


def test_cancelling_a_stream_empties_the_queue(live, stub, request_of, eventually):
    with live.busy():
        # One is in the engine's hands, so that none of the stream can be: all of it must wait.
        first = stub.CounterfactualInference.future(request_of(), timeout=TIMEOUT)
        assert eventually(lambda: live.resources.service._batcher._in_work == 1)
        call = stub.BatchInference((request_of() for _ in range(8)), timeout=TIMEOUT)
        assert eventually(lambda: live.waiting > 0)
        call.cancel()
        assert eventually(lambda: live.waiting == 0)
    assert first.result().confidence > 0.0
