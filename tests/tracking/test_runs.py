"""Runs: what is noted, and that the store never stops the work once it has begun."""

import json
import shutil
import time

import pytest
import torch

import acie
from acie.cli import main
from acie.errors import RegistryUnreachable
from acie.manifest import bundled_models
from acie.tracking import Registry, TrackingSettings, note_benchmark, tracked
from acie.tracking.facts import files_digest, flat, numbers, revision
from acie.tracking.store import Store

SHIPPED = bundled_models()["galaxy-v1"]
#: A model is refined on a few simulations with the templates it has: seconds, and every stage.
TINY = """
name: tiny
start: galaxy-v1
simulations: 96
initial: 64
growth: 32
shard: 32
validation: 32
epochs: 2
latent_epochs: 1
batch: 16
learning_rate: 1.0e-5
"""


def found(registry, run):
    return registry.store.client.get_run(run.id)


def curve(registry, run, name):
    values = registry.store.client.get_metric_history(run.id, name)
    return [(one.step, one.value) for one in values]


def test_a_run_says_what_was_done_with_what_and_where(registry, tmp_path):
    settings = {"seed": 1, "survey": {"snr": (2.0, 60.0)}, "text": "x" * 9000}
    (tmp_path / "figure.png").write_bytes(b"png")
    with tracked("benchmark", "speed", settings | {f"p{i}": i for i in range(150)}, wanted=True,
                 device=torch.device("cpu")) as run:  # fmt: skip
        for step in range(3):
            run.curve({"loss": 3.0 - step, "learning_rate": 0.1}, step)
        model = {"name": "m", "version": "1", "digest": "d" * 64}
        note_benchmark(
            run, {"model": model, "dataset": "10k", "cpu": {"ms @ 1": 2.5, "who": "me"}},
            [tmp_path / "figure.png"], "e" * 64,
        )  # fmt: skip
    stored = found(registry, run)
    assert stored.info.status == "FINISHED"
    assert stored.data.params["survey.snr"] == "(2.0, 60.0)"
    assert len(stored.data.params["text"]) == 6000
    assert len(stored.data.params) == 153
    assert curve(registry, run, "loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert stored.data.metrics["cpu.ms _ 1"] == 2.5
    tags = stored.data.tags
    assert (tags["acie.torch"], tags["acie.version"]) == (torch.__version__, acie.__version__)
    assert tags["acie.data_digest"] == "e" * 64
    assert tags.get("mlflow.source.git.commit", "") == revision().get("commit", "")
    assert stored.inputs.dataset_inputs[0].dataset.digest == "e" * 36
    files = {one.path for one in registry.store.client.list_artifacts(run.id)}
    assert files == {"environment.json", "figure.png"}


def test_what_fails_is_noted_as_failed(registry):
    with pytest.raises(ZeroDivisionError), tracked("train", "x", {}, wanted=True) as run:
        raise ZeroDivisionError
    assert found(registry, run).info.status == "FAILED"
    with pytest.raises(KeyboardInterrupt), tracked("train", "x", {}, wanted=True) as run:
        raise KeyboardInterrupt
    assert found(registry, run).info.status == "KILLED"


def test_nothing_is_tracked_unasked_or_twice(server, environment):
    with tracked("train", "x", {}, wanted=False) as run:
        assert not run.active
    environment.setenv("RANK", "1")
    with tracked("train", "x", {}) as run:
        run.curve({"loss": 1.0}, 0)
        assert not run.active
    environment.setenv("RANK", "0")
    with tracked("train", "x", {}) as run:
        assert run.active
    environment.delenv("ACIE_MLFLOW__URI")
    with tracked("train", "x", {}) as run:
        assert not run.active


def test_a_server_that_is_away_for_a_while_costs_nothing(server, registry, impatient, tmp_path):
    with tracked("train", "x", {}) as run:
        run.curve({"loss": 3.0}, 0)
        with server.frozen():
            begun = time.monotonic()
            for step in range(1, 100):
                run.curve({"loss": 3.0 - step}, step)
            assert time.monotonic() - begun < 15.0
    assert curve(registry, run, "loss") == [(i, 3.0 - i) for i in range(100)]


def test_a_server_that_stays_away_loses_notes_and_no_work(server, impatient, caplog):
    with server.frozen(), pytest.raises(RegistryUnreachable), tracked("train", "x", {}):
        pytest.fail("the work must not begin")
    thaw = server.frozen()
    with tracked("train", "x", {}) as run:
        thaw.__enter__()
        run.curve({"loss": 3.0}, 0)
    thaw.__exit__(None, None, None)
    assert "2 records of run" in caplog.text


def test_work_that_was_killed_goes_on_with_its_run(registry, tmp_path):
    memory = tmp_path / "out" / "run.json"
    with tracked("train", "x", {"seed": 1}, wanted=True, memory=memory) as first:
        first.curve({"loss": 3.0}, 0)
    with tracked("train", "x", {"seed": 1}, wanted=True, memory=memory) as again:
        again.curve({"loss": 2.0}, 1)
    assert again.id == first.id
    assert len(curve(registry, first, "loss")) == 2
    assert found(registry, first).info.status == "FINISHED"
    # Other settings are other work, and so is a run that was deleted.
    with tracked("train", "x", {"seed": 2}, wanted=True, memory=memory) as other:
        assert other.id != first.id
    registry.store.client.delete_run(other.id)
    with tracked("train", "x", {"seed": 2}, wanted=True, memory=memory) as new:
        assert new.id != other.id
    memory.write_text("rubbish")
    with tracked("train", "x", {"seed": 2}, wanted=True, memory=memory) as newest:
        assert newest.id != new.id


def test_digests_and_levels(tmp_path):
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / name).write_text(text)
    digest = files_digest([tmp_path / "b", tmp_path / "a"])
    assert digest == files_digest([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "b").write_text("3")
    assert digest != files_digest([tmp_path / "a", tmp_path / "b"])
    assert flat({"a": {"b": 1, "c": {}}, "d": None}) == {"a.b": "1", "a.c": "{}", "d": "None"}
    assert numbers({"a": {"b": 1, "c": float("nan")}, "d": "x"}) == {"a.b": 1.0}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_training_is_tracked_into_a_local_file_and_its_run_registered(
    environment, tmp_path, capsys
):
    environment.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(SHIPPED / "templates.safetensors", out)
    arguments = ["train", "--config", "tiny.yaml", "--out", "out", "--device", "cpu"]
    assert main([*arguments, "--track"]) == 0
    registry = Registry(Store(TrackingSettings.read()))
    (run,) = registry.store.client.search_runs([registry.store.experiment])
    assert run.info.run_name == "train tiny"
    assert run.data.params["survey.redshift"] == "(0.005, 0.6)"
    for name, steps in (("spectral/loss", 2), ("spectral/validation_loss", 2),
                        ("spectral/learning_rate", 2), ("latent/loss", 1)):  # fmt: skip
        history = registry.store.client.get_metric_history(run.info.run_id, name)
        assert [one.step for one in history] == list(range(steps)), name
    assert run.data.tags["acie.data_digest"] == files_digest((out / "shards").iterdir())
    bundle = acie.load(out / "bundle").bundle
    assert run.data.tags["acie.digest"] == bundle.digest
    assert run.data.metrics["final/spectral_loss"] == bundle.metrics["spectral_loss"]
    # What the training kept is registered where it is.
    capsys.readouterr()
    assert main(["models", "register", "out/bundle", "--name", "tiny", "--json"]) == 0
    registered = json.loads(capsys.readouterr().out)
    assert registered["run"] == run.info.run_id
    assert acie.load("models:/tiny@candidate").bundle.digest == bundle.digest
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_evaluation_is_tracked_with_its_figures(registry, tmp_path, capsys):
    out = tmp_path / "results"
    arguments = ["evaluate", "--n", "4", "--quick", "--samples", "64", "--out", str(out)]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    runs = registry.store.client.search_runs(
        [registry.store.experiment], "tags.`acie.kind` = 'evaluate'"
    )
    run = runs[0]
    assert run.data.tags["acie.digest"] == report["model"]["digest"]
    assert run.data.metrics["efficiency_median"] == report["efficiency_median"]
    assert run.data.metrics["pass/law-composition"] == 1.0
    assert run.data.params["count"] == "4"
    client = registry.store.client
    figures = {one.path for one in client.list_artifacts(run.info.run_id, "figures")}
    assert {f"figures/{path.name}" for path in out.glob("*.png")} == figures
    assert len(figures) > 5
    files = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert {"report.html", "evaluation.json", "environment.json"} <= files
