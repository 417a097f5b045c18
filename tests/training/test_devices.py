"""Devices, processes and precision: what is planned, and what is refused before any work."""

import pytest
import torch

from acie.cli import main
from acie.cli.train import TrainOptions, with_options
from acie.device import describe_devices, full_precision, pick_device
from acie.errors import ConfigurationError
from acie.inference import PosteriorFlow
from acie.training import TrainConfig
from acie.training.devices import DevicePlan

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")


def planned(**settings):
    return DevicePlan.of(TrainConfig(**{"device": "cpu"} | settings))


def test_one_process_needs_no_strategy_and_several_speak_gloo():
    one, two = planned(), planned(devices=2, nodes=3, batch=600)
    assert (one.processes, one.trainer_arguments()["strategy"]) == (1, "auto")
    assert (two.processes, two.backend) == (6, "gloo")
    arguments = two.trainer_arguments()
    assert (arguments["devices"], arguments["num_nodes"]) == (2, 3)
    # Lightning would otherwise cut rows that are shared already.
    assert arguments["use_distributed_sampler"] is False


@pytest.mark.parametrize(
    ("settings", "argument", "words"),
    [
        ({"devices": 3, "batch": 512}, "batch", "510"),
        ({"devices": 2, "accumulate": 3, "batch": 512}, "batch", "multiple of 6"),
        ({"devices": 4, "validation": 3}, "validation", "4 processes"),
        ({"precision": "16-mixed"}, "precision", "bf16-mixed"),
        ({"precision": "64-true"}, "precision", "32-true"),
        ({"device": "toaster"}, "device", "cuda:N"),
        ({"device": "meta"}, "device", "does not use"),
    ],
)
def test_what_cannot_be_is_refused(settings, argument, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        planned(**settings)
    assert caught.value.argument == argument
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["accumulate", "devices", "nodes", "batch", "patience", "clip"])
def test_settings_below_their_least_value_are_refused(name):
    with pytest.raises(ConfigurationError, match=name):
        TrainConfig(**{name: -1})


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigurationError, match="no-such-compiler"):
        planned(compile=True)
    assert planned(compile=False).processes == 1


@NO_GPU
def test_gpus_that_are_not_there_are_refused(tmp_path, capsys):
    path = tmp_path / "tiny.yaml"
    path.write_text("name: tiny")
    out = tmp_path / "run"
    for options in (["--gpus", "4", "--distributed"], ["--device", "cuda"], ["--distributed"]):
        code = main(["train", "--config", str(path), "--out", str(out), *options])
        error = capsys.readouterr().err
        assert code == 2
        assert error.startswith("acie: ConfigurationError: ")
        assert len(error.splitlines()) == 1
    assert not out.exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_more_gpus_than_there_are_is_refused():
    many = torch.cuda.device_count() + 1
    with pytest.raises(ConfigurationError, match=f"at most {many - 1}"):
        planned(device="cuda", devices=many, batch=512 * many)


def test_options_take_the_place_of_settings():
    config = TrainConfig(device="cpu", devices=4, batch=64)
    options = TrainOptions(processes=2, nodes=3, precision="bf16-mixed", deterministic=True)
    found = with_options(config, options)
    assert (found.devices, found.nodes, found.precision) == (2, 3, "bf16-mixed")
    assert found.deterministic
    assert with_options(config, TrainOptions()) == config
    with pytest.raises(ConfigurationError, match="both"):
        with_options(config, TrainOptions(gpus=1, processes=1))
    with pytest.raises(ConfigurationError, match="--processes"):
        with_options(config, TrainOptions(gpus=0, device="cpu"))


def test_a_launcher_says_how_many_processes_there_are(monkeypatch):
    environment = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = TrainConfig(device="cpu", batch=60)
    found = with_options(config, TrainOptions(distributed=True))
    assert (found.devices, found.nodes) == (2, 3)
    # Six processes that each train alone in one folder would be a disaster.
    for options in (TrainOptions(), TrainOptions(processes=3), TrainOptions(processes=2)):
        with pytest.raises(ConfigurationError, match="--distributed"):
            with_options(config, options)
    assert with_options(config, TrainOptions(processes=2, nodes=3)).nodes == 3


def test_the_preferred_device_is_described_first():
    names = [name for name, _ in describe_devices()]
    assert names[0].split(":")[0] == pick_device().type
    assert names[-1] == "cpu"


def test_the_density_stays_in_single_precision():
    flow = PosteriorFlow(3, 5)
    generator = torch.Generator().manual_seed(1)
    x, context = (
        torch.randn(2, 64, 3, generator=generator),
        torch.randn(64, 5, generator=generator),
    )
    flow.fit_scaling(x[0], context)
    flow.requires_grad_(False)
    exact = flow.log_prob(x, context)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = flow.log_prob(x, context)
        with full_precision(x):
            full = flow.log_prob(x, context)
        assert (context @ context.T).dtype == torch.bfloat16
    assert mixed.dtype == torch.float32
    assert torch.equal(full, exact)
    # bfloat16 has three digits; only the embedding may lose them.
    assert 0.0 < float((mixed - exact).abs().max()) < 0.05
