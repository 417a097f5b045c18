"""Simulations are made on the device of the forward model, and hold what a processor makes."""

import copy

import pytest
import torch
from elsewhere import ELSEWHERE, another_device, numbers

from acie.bundle import ModelBundle
from acie.errors import DataError
from acie.native import kernels_off
from acie.physics import StellarPopulationModel
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator, SurveyConfig, build_galaxy_scm
from acie.simulation.noise import SpectrumLikelihood
from acie.tensor_files import read_tensors
from acie.training.data import TrainingPool

NAMES = (*SPECTRAL_NAMES, *LATENT_NAMES)
#: Sharper than the templates in part: the harder case for the pixels.
SURVEY = SurveyConfig(lsf_km_s=(30.0, 90.0))
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def bundle():
    return ModelBundle.load()


def simulator_on(device, bundle):
    physics = StellarPopulationModel(copy.deepcopy(bundle.templates)).to(device)
    return Simulator(build_galaxy_scm(physics), physics, survey=SURVEY)


def everything(simulator, encoder, generator):
    """All that a shard is made of, and the likelihood of the truth."""
    drawn = simulator.draw(24, generator)
    encoding = copy.deepcopy(encoder).to(simulator.device).encode(drawn.observation, 24)
    real, _ = simulator.scm.to_unconstrained(drawn.values, NAMES)
    likelihood = SpectrumLikelihood(drawn.observation, simulator.noise_model)
    found = {"clean": drawn.clean, "flux": drawn.observation.flux, "real": real}
    found |= {"features": encoding.features, "chi2": encoding.reduced_chi2}
    return found | drawn.values | {"likelihood": likelihood(drawn.clean[None])[0]}


@pytest.fixture(scope="module")
def reference(bundle):
    with torch.no_grad():
        simulator = simulator_on("cpu", bundle)
        # Another device has torch alone: the same operations give the same bits.
        with kernels_off():
            return everything(simulator, bundle.encoder, torch.Generator().manual_seed(4))


def test_nothing_is_left_on_the_processor(bundle, reference):
    with torch.no_grad(), another_device():
        simulator = simulator_on(ELSEWHERE, bundle)
        # The same numbers are drawn: the generator is a real one.
        found = everything(simulator, bundle.encoder, torch.Generator().manual_seed(4))
    assert all(value.device == ELSEWHERE for value in found.values())
    for name in simulator.scm.variables:
        assert torch.equal(numbers(found[name]), reference[name]), name
    # Galaxies computed together, not one by one: rounding of single precision.
    clean = numbers(found["clean"])
    assert torch.allclose(clean, reference["clean"], rtol=1e-4, atol=1e-5 * float(clean.max()))
    scale = reference["features"].std(0).clamp_min(1e-3)
    away = (numbers(found["features"]) - reference["features"]).abs() / scale
    assert float(away.max()) < 1e-2
    assert torch.allclose(numbers(found["likelihood"]), reference["likelihood"], atol=0.05)


def test_a_tensor_left_behind_is_noticed(bundle):
    with torch.no_grad(), another_device() as there:
        left = torch.ones(3)
        with pytest.raises(RuntimeError, match="elsewhere"):
            torch.ones(3, device=there) + left


@pytest.mark.parametrize("device", DEVICES)
def test_shards_are_finite_and_repeat_themselves(device, bundle, tmp_path):
    tables = []
    for folder in ("a", "b"):
        simulator = simulator_on(device, bundle)
        encoder = copy.deepcopy(bundle.encoder).to(device)
        pool = TrainingPool(simulator, encoder, tmp_path / folder, 8, seed=5)
        assert list(pool.grow(2)) == [0, 1]
        tables.append(pool.table())
    for name, value in tables[0].items():
        assert value.device.type == "cpu"
        assert bool(value.isfinite().all())
        assert torch.equal(value, tables[1][name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_makes_the_same_population(bundle, reference):
    with torch.no_grad():
        simulator = simulator_on("cuda", bundle)
        generator = torch.Generator("cuda").manual_seed(4)
        found = everything(simulator, bundle.encoder, generator)
    for name, value in found.items():
        assert value.device.type == "cuda"
        low, high = reference[name].double().mean(), value.double().mean().cpu()
        spread = reference[name].double().std() + 1e-9
        # Two samples of 24: means differ by 0.3 standard deviations, typically.
        assert abs(float(low - high)) < 2.0 * float(spread), name


def test_a_shard_that_is_not_whole_is_refused(bundle, tmp_path):
    pool = TrainingPool(simulator_on("cpu", bundle), bundle.encoder, tmp_path, 4, seed=5)
    list(pool.grow(1))
    path = tmp_path / "00000.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="Delete it"):
        list(TrainingPool(None, None, tmp_path, 4, seed=5).grow(1))
    with pytest.raises(DataError, match="whole"):
        read_tensors(tmp_path / "missing.safetensors")


def test_what_a_killed_process_left_is_removed(bundle, tmp_path):
    left = tmp_path / "00003.safetensors.12345.partial"
    left.write_bytes(b"half")
    TrainingPool(simulator_on("cpu", bundle), bundle.encoder, tmp_path, 4, seed=5)
    assert not left.exists()
