"""The archive for TorchServe, and a real TorchServe that answers with it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from processes import question
from servers import free_port, program

import acie
from acie.errors import BundleError, ConfigurationError
from acie.export import export_torchserve
from acie.figures import counterfactual_band
from acie.serving.rest.wire import validated
from acie.serving.schemas import RequestBody, query_of

pytest.importorskip("model_archiver")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return export_torchserve("galaxy-v1", tmp_path_factory.mktemp("store"))


def test_the_archive_holds_the_verified_bundle_and_no_pickle(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert {"manifest.json", "estimator.safetensors", "torchserve.py"} <= set(names)
    kinds = {Path(name).suffix for name in names}
    assert kinds <= {".safetensors", ".json", ".py", ".yaml", ".md", ""}
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def test_what_cannot_be_packed_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="--name"):
        export_torchserve("galaxy-v1", tmp_path, "a/b")
    with pytest.raises(BundleError):
        export_torchserve("none", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="--out"):
        export_torchserve("galaxy-v1", tmp_path / "file")


@pytest.fixture(scope="module")
def served(archive, tmp_path_factory):
    """Addresses of the predictions and of the workers of a real TorchServe."""
    program("java")
    folder = tmp_path_factory.mktemp("torchserve")
    ports = [free_port() for _ in range(5)]
    names = ("inference_address", "management_address", "metrics_address")
    lines = [f"{n}=http://127.0.0.1:{p}" for n, p in zip(names, ports[:3], strict=True)]
    lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}",
              "install_py_dep_per_model=false", "disable_system_metrics=true"]  # fmt: skip
    (folder / "config.properties").write_text("\n".join(lines) + "\n")
    source = str(Path(acie.__file__).parents[1])
    tools = str(Path(sys.executable).parent)
    own = os.environ | {"PYTHONPATH": source, "PATH": f"{tools}:{os.environ['PATH']}",
                        "TEMP": str(folder), "LOG_LOCATION": str(folder)}  # fmt: skip
    command = [sys.executable, "-m", "ts.model_server", "--start", "--foreground", "--ncs",
               "--disable-token-auth", "--model-store", str(archive.parent),
               "--models", f"galaxy={archive.name}",
               "--ts-config", str(folder / "config.properties")]  # fmt: skip
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log,
                               start_new_session=True)  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{ports[1]}/models/galaxy", process, folder / "log")
        yield f"http://127.0.0.1:{ports[0]}/predictions/galaxy"
    finally:
        # Java and its workers are the session that was started here.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 150.0
    while time.monotonic() < end and process.poll() is None:
        try:
            found = httpx.get(url).json()
            if found[0]["workers"] and found[0]["workers"][0]["status"] == "READY":
                return
        except (httpx.TransportError, KeyError):
            pass
        time.sleep(0.2)
    pytest.fail(log.read_text("utf-8", "replace")[-3000:])


@pytest.mark.slow
def test_torchserve_answers_as_the_service_does(served):
    body = question(seed=7)
    answer = httpx.post(served, json=body, timeout=60.0)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    query = query_of(validated(RequestBody, body))
    engine = acie.load()
    expected = engine.counterfactual(
        query.observation, query.intervention, num_samples=query.samples,
        generator=torch.Generator().manual_seed(7),
    )  # fmt: skip
    assert found["model"]["digest"] == engine.bundle.digest
    bands = [found[f"counterfactual{part}"] for part in ("_p16", "", "_p84")]
    np.testing.assert_allclose(bands, counterfactual_band(expected), rtol=1e-4)


@pytest.mark.slow
def test_a_bad_question_gets_its_problem_and_does_not_spoil_its_batch(served):
    bodies = [question(seed=1), {**question(), "intervention": "no_such=1"}, {"nothing": 1},
              question(seed=1)]  # fmt: skip

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=60.0) as client:
            calls = [client.post(served, json=body) for body in bodies]
            calls.append(client.post(served, content=b"{", headers={"content-type": "text/plain"}))
            return await asyncio.gather(*calls)

    answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [200, 422, 422, 200, 400]
    assert answers[1].json()["type"] == "urn:acie:problem:unknown-variable"
    assert answers[1].headers["content-type"] == "application/problem+json"
    first, last = answers[0].json(), answers[3].json()
    assert first["counterfactual"] == last["counterfactual"]
