"""Quality flags: what raises each of them, and what does not."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import acie
from acie.errors import MalformedSpectrum
from acie.observation import Observation
from acie.quality import EDGE_NAMES, at_edge, posterior_quality
from acie.redshift import RedshiftScanner, redshift_quality
from acie.refinement import RefinedPosterior
from acie.results import QualityFlag
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig, declared_supports

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def simulator(engine):
    survey = replace(SurveyConfig(), snr=(20.0, 40.0))
    return Simulator(engine.scm, engine.physics, engine.noise_model, survey)


@pytest.fixture(scope="module")
def drawn(simulator):
    return simulator.draw(24, SeedStream(33).generator("quality"))


@pytest.fixture(scope="module")
def kinds():
    spec = importlib.util.spec_from_file_location("ood_kinds", BENCHMARKS / "ood_kinds.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ood_kinds"] = module
    spec.loader.exec_module(module)
    return module


def of_truth(drawn) -> RefinedPosterior:
    """A posterior whose only draw is the truth."""
    one = torch.ones(len(drawn.clean), dtype=torch.float64)
    values = {name: value[None] for name, value in drawn.values.items()}
    return RefinedPosterior(values, drawn.clean[None], one, one, one, one)


def has(quality, flag):
    return (quality & int(flag)) > 0


def test_a_good_answer_has_no_flag(drawn):
    quality = posterior_quality(drawn.observation, of_truth(drawn), torch.zeros(24).bool())
    worrying = int(
        QualityFlag.POOR_FIT
        | QualityFlag.LOW_SNR
        | QualityFlag.LOW_CONFIDENCE
        | QualityFlag.MASKED
        | QualityFlag.OUT_OF_DISTRIBUTION
    )
    assert not bool((quality & worrying).any())


def test_every_flag_has_its_cause(drawn):
    refined, none = of_truth(drawn), torch.zeros(24, dtype=torch.bool)
    first = none.clone()
    first[0] = True
    seen = drawn.observation
    assert torch.equal(
        has(posterior_quality(seen, refined, first), QualityFlag.OUT_OF_DISTRIBUTION), first
    )
    poor = replace(refined, efficiency=torch.where(first, 0.001, 0.5))
    found = posterior_quality(seen, poor, none)
    assert torch.equal(has(found, QualityFlag.LOW_CONFIDENCE), first)
    half = replace(seen, ivar=seen.ivar * (torch.arange(6000) < 2500))
    assert bool(has(posterior_quality(half, refined, none), QualityFlag.MASKED).all())
    others = replace(refined, spectra=refined.spectra.roll(1, 1))
    wrong = has(posterior_quality(seen, others, none), QualityFlag.POOR_FIT)
    assert float(wrong.double().mean()) > 0.9
    noisy = replace(seen, ivar=seen.ivar / 400.0)
    assert bool(has(posterior_quality(noisy, refined, none), QualityFlag.LOW_SNR).all())


@pytest.mark.parametrize("name", EDGE_NAMES)
def test_draws_at_an_edge_are_seen(name):
    """Uniform draws are fine; the same with two thirds of them at an end are not."""
    supports = declared_supports()
    generator = torch.Generator().manual_seed(1)
    values = {}
    for each in EDGE_NAMES:
        (low, high), transform = supports[each]
        share = torch.rand((90, 3), generator=generator, dtype=torch.float64)
        if each == name:
            share[:60, 1], share[:60, 2] = 0.999, 0.001
        ratio = high / low if transform == "log10" else 1.0
        values[each] = low * ratio**share if transform == "log10" else low + share * (high - low)
    lower = name != "dust_av"  # a galaxy without dust is one that exists
    assert has(at_edge(values), QualityFlag.AT_EDGE).tolist() == [False, True, lower]


def test_flux_in_another_unit_is_refused_or_read(drawn):
    seen = drawn.observation[0]
    for factor in (1e-17, 1e17):
        with pytest.raises(MalformedSpectrum, match="1e-17 erg/s/cm2/AA"):
            Observation(seen.flux * factor, seen.ivar / factor**2, seen.redshift, seen.lsf)
    dark = Observation(torch.zeros_like(seen.flux), seen.ivar, seen.redshift, seen.lsf)
    assert float(dark.signal_to_noise) == 0.0


@pytest.mark.slow
def test_a_wrong_redshift_and_air_wavelengths_are_noticed(engine, simulator, kinds):
    drawn = simulator.draw(12, SeedStream(34).generator("conflict"))
    scanner = RedshiftScanner(engine.bundle.encoder)
    generator = SeedStream(4).generator("conflict")
    conflict = QualityFlag.REDSHIFT_CONFLICT
    assert not bool(has(redshift_quality(drawn.observation, scanner), conflict).any())
    for name in ("wrong redshift", "air read as vacuum"):
        seen = kinds.KINDS[name](drawn, engine.noise_model, generator)
        share = has(redshift_quality(seen, scanner), conflict).double().mean()
        assert float(share) > 0.9, name


def test_every_strange_input_is_an_observation_of_its_own(engine, simulator, kinds):
    generator = SeedStream(6).generator("kinds")
    drawn = simulator.draw(3, generator)
    for name, make in {**kinds.KINDS, **kinds.UNNOTICEABLE}.items():
        if name.startswith("flux in erg"):
            with pytest.raises(MalformedSpectrum):
                make(drawn, engine.noise_model, generator)
            continue
        seen = make(drawn, engine.noise_model, generator)
        assert len(seen) == 3
        same = [
            torch.equal(getattr(seen, part), getattr(drawn.observation, part))
            for part in ("flux", "ivar", "redshift")
        ]
        assert not all(same), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["star G", "AGN, broad lines", "sky ramp"])
def test_strange_inputs_are_flagged_by_the_engine(engine, simulator, kinds, name):
    generator = SeedStream(8).generator(name)
    seen = kinds.KINDS[name](simulator.draw(1, generator), engine.noise_model, generator)
    quality = QualityFlag(int(engine.infer(seen, 32).quality[0]))
    assert quality & (QualityFlag.POOR_FIT | QualityFlag.OUT_OF_DISTRIBUTION)
