"""The network as ONNX files: draws, folders, a runner without torch, an engine, 8 bits."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import acie
import acie.export.build
from acie import native
from acie.benchmark import BenchmarkConfig, run_benchmark
from acie.cli import main
from acie.errors import ChecksumMismatch, ConfigurationError, IncompatibleBundle, ParityError
from acie.export import ExportedModel, export_model, read_export, with_onnx
from acie.export.network import eight_bits
from acie.export.network.parity import (
    Tolerance,
    check,
    compare,
    eager_draws,
    engine_draws,
    simulate,
)  # fmt: skip

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def exported(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    return folder, export_model(engine, folder, galaxies=24, network_only=True)


def features_of(engine, count, seed=5):
    sample = simulate(engine, count, seed)
    return sample.features.float().numpy(), sample.observation.redshift.numpy()


def width(engine):
    estimator = engine.bundle.estimator
    return estimator.n_spectral + estimator.n_latent


@pytest.mark.parametrize(("samples", "batch"), [(1, 1), (160, 1), (3, 5)])
def test_draws_of_any_shape_are_those_of_torch(engine, exported, samples, batch):
    features, redshift = features_of(engine, batch)
    rng = np.random.default_rng(samples)
    base = rng.standard_normal((samples, batch, width(engine))).astype(np.float32)
    found = ExportedModel(exported[0]).draws(features, redshift, base)
    expected = eager_draws(engine.bundle.estimator)(features, redshift, base)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)


def test_the_manifest_says_what_it_is_made_from_and_how_well(engine, exported):
    folder, manifest = exported
    assert json.loads(json.dumps(manifest)) == read_export(folder)
    assert manifest["source"]["digest"] == engine.bundle.digest
    assert manifest["parity"]["network"]["tolerance"]["draw"] == Tolerance().draw
    assert {path.suffix for path in folder.iterdir()} == {".json", ".onnx", ".py", ".md"}
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    assert engine.bundle.digest in card
    assert f"posterior | {manifest['parity']['network']['draw']:.2g} | 0.002 |" in card


def test_a_network_that_answers_otherwise_is_refused(engine, tmp_path, monkeypatch):
    sample = simulate(engine, 4, 3)
    eager = eager_draws(engine.bundle.estimator)

    def shifted(*inputs):
        x_s, x_l, log_q = eager(*inputs)
        return x_s + 0.05, x_l, log_q

    with pytest.raises(ParityError):
        check(compare(eager, shifted, sample), Tolerance(), "a shifted network")
    # And then nothing is left behind.
    monkeypatch.setattr("acie.export.build.Tolerance", lambda: Tolerance(draw=0.0))
    with pytest.raises(ParityError):
        export_model(engine, tmp_path / "never", galaxies=4, network_only=True)
    assert list(tmp_path.iterdir()) == []


def test_the_files_run_where_there_is_no_torch(engine, exported):
    features, redshift = features_of(engine, 1)
    base = np.random.default_rng(0).standard_normal((4, 1, width(engine))).astype(np.float32)
    given = json.dumps([features.tolist(), redshift.tolist(), base.tolist()])
    code = """
import json, sys
sys.modules["torch"] = sys.modules["acie"] = None
sys.path.insert(0, sys.argv[1])
import numpy as np
from acie_onnx import ExportedModel
inputs = [np.array(part, np.float32) for part in json.load(sys.stdin)]
x_s, x_l, log_q = ExportedModel(sys.argv[1]).draws(*inputs)
json.dump([x_s.tolist(), log_q.tolist()], sys.stdout)
"""
    done = subprocess.run([sys.executable, "-c", code, str(exported[0])], input=given, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    x_s, log_q = json.loads(done.stdout)
    own = eager_draws(engine.bundle.estimator)(features, redshift, base)
    np.testing.assert_allclose(x_s, own[0], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(log_q, own[2], rtol=2e-3, atol=2e-3)


@torch.no_grad()
def test_the_same_noise_gives_the_same_draws_in_the_place_of_the_estimator(engine, exported):
    own, other = engine.bundle.estimator, with_onnx(engine.bundle, exported[0]).estimator
    features, redshift = (torch.as_tensor(part).float() for part in features_of(engine, 3))
    noise = torch.randn(40, 3, own.n_spectral, generator=torch.Generator().manual_seed(0))
    pair = [one.spectral(features).whitened()(noise) for one in (own, other)]
    for found, expected in zip(pair[1], pair[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    x_s = pair[0][0]
    latent = [
        one.sample_latent(x_s, redshift, torch.Generator().manual_seed(1)) for one in (own, other)
    ]
    for found, expected in zip(latent[1], latent[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_in_the_engine_onnx_runtime_computes_the_network(engine, exported, monkeypatch):
    def never(*arguments):
        raise AssertionError("torch computed the network")

    monkeypatch.setattr("acie.inference.flow._Whitened.__call__", never)
    observation = simulate(engine, 2, 9).observation
    other = type(engine)(with_onnx(engine.bundle, exported[0]))
    values = other.infer(observation, 64, torch.Generator().manual_seed(2)).values
    assert all(bool(value.isfinite().all()) for value in values.values())
    with pytest.raises(AssertionError, match="torch computed"):
        engine.infer(observation, 64, torch.Generator().manual_seed(2))


def test_changed_and_foreign_exports_are_refused(engine, exported, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in exported[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    data = (folder / "spectral.onnx").read_bytes()
    (folder / "spectral.onnx").write_bytes(data[:-10])
    with pytest.raises(ChecksumMismatch):
        read_export(folder)
    with pytest.raises(ValueError, match="SHA-256"):
        ExportedModel(folder)
    (folder / "spectral.onnx").write_bytes(data)
    manifest = json.loads((folder / "export.json").read_text())
    manifest["source"]["digest"] = "0" * 64
    (folder / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(IncompatibleBundle, match="an export of galaxy-v1"):
        with_onnx(engine.bundle, folder)
    with pytest.raises(IncompatibleBundle):
        read_export(tmp_path)


def test_a_folder_with_other_files_is_left_alone(engine, tmp_path):
    (tmp_path / "precious").write_text("kept")
    with pytest.raises(ConfigurationError, match="other files"):
        export_model(engine, tmp_path, galaxies=4)
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("words", [["--format", "pickle"], ["--quantize", "int3"],
                                   ["--model", "none"],
                                   ["--format", "torchserve", "--quantize", "int8"]])  # fmt: skip
def test_the_command_refuses_what_it_does_not_know(words, tmp_path, capsys):
    assert main(["export", "--out", str(tmp_path / "x"), *words]) == 2
    assert words[-2].strip("-") in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_benchmark_measures_exports(engine, exported, tmp_path):
    stages = ("network", "network_eager", "network_onnx")
    if not native.available():
        stages = ("network", "network_onnx")
    config = BenchmarkConfig(dataset="2", device="cpu", seconds=0.01, stages=stages,
                             exported=(str(exported[0]),))  # fmt: skip
    rows = {row["stage"]: row for row in run_benchmark(config, folder=tmp_path)["stages"]}
    assert tuple(rows) == stages
    # The same computation, whoever does it: for each draw at least the last layer of each network.
    last = rows["network"]["operations_per_item"]
    assert rows["network_onnx"]["operations_per_item"] == last > 256 * 2 * 64 * width(engine)
    assert rows["network"]["unit"] == "galaxies"
    with pytest.raises(IncompatibleBundle, match="export"):
        run_benchmark(dataclasses.replace(config, exported=(str(tmp_path),)), folder=tmp_path)


@pytest.fixture(scope="module")
def of_eight_bits(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / "exported"
    with pytest.MonkeyPatch.context() as patch:
        # Of 24 truths each moves coverage by four points, and what else the machine does decides
        # how fast one is: `acie export --quantize int8` asks for both, with 1000 galaxies.
        tolerance = dataclasses.replace(eight_bits.QUANTISED, coverage=math.inf)
        patch.setattr(acie.export.build, "QUANTISED", tolerance)
        patch.setattr(acie.export.build, "_CALIBRATION", 32)
        patch.setattr(eight_bits, "_FASTER", 0.0)
        made = export_model(engine, folder, quantize="int8", galaxies=24, card="# One\ntext")
    return folder, made


def test_with_8_bits_the_network_is_three_and_a_half_times_smaller(of_eight_bits):
    folder, manifest = of_eight_bits
    assert manifest["quantized"]["smaller"] >= 3.5
    assert sum(path.stat().st_size for path in folder.glob("*.onnx")) < 1.5e6


def test_with_8_bits_medians_stay_where_they_are(engine, of_eight_bits):
    sample = simulate(engine, 16, 99)
    draws = ExportedModel(of_eight_bits[0]).draws
    figures = compare(eager_draws(engine.bundle.estimator), draws, sample)
    assert 0.0 < figures["median"] < 0.1


def test_every_layer_is_accounted_for_in_the_manifest_and_the_card(engine, of_eight_bits):
    folder, manifest = of_eight_bits
    layers = manifest["quantized"]["layers"]
    assert {row["bits"] for row in layers.values()} <= {8, 16}
    few = sum(row["weights"] for row in layers.values() if row["bits"] == 8)
    assert few > 0.9 * sum(row["weights"] for row in layers.values())
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    assert all(f"| `{name}` | {row['bits']} |" in card for name, row in layers.items())
    assert card.endswith("## One\ntext\n")
    json.dumps(manifest)


@pytest.mark.parametrize(("smaller", "faster"), [(3.4, 2.5), (3.6, 1.9)])
def test_bits_that_save_too_little_are_refused(smaller, faster):
    with pytest.raises(ParityError, match="--quantize int8"):
        eight_bits.worth(smaller, {"torch": faster, "kernels": 9.0}, {})


def test_the_gain_in_time_is_that_over_torch_and_the_one_over_kernels_is_told(of_eight_bits):
    facts = eight_bits.worth(3.6, {"torch": 2.1, "kernels": 0.8}, {})
    assert (facts["faster"], facts["faster_than_kernels"]) == (2.1, 0.8)
    assert "faster_than_kernels" not in eight_bits.worth(3.6, {"torch": 2.1}, {})
    folder, manifest = of_eight_bits
    if native.available():
        told = f"({manifest['quantized']['faster_than_kernels']:.2f} times as fast as ACIE's"
        assert told in (folder / "MODEL_CARD.md").read_text("utf-8")


@pytest.mark.skipif(not native.available(), reason="needs compiled kernels")
def test_eager_draws_take_no_kernel(engine, monkeypatch):
    features, redshift = features_of(engine, 1)
    base = np.random.default_rng(0).standard_normal((4, 1, width(engine))).astype(np.float32)
    eager, own = (of(engine.bundle.estimator) for of in (eager_draws, engine_draws))
    inputs = features, redshift, base
    for one, other in zip(eager(*inputs), own(*inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    monkeypatch.setattr(native.kernels, "draws", None)
    eager(*inputs)
    with pytest.raises(TypeError):
        own(*inputs)
