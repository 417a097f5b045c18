"""The reduced likelihood, and the refinement that is built on it, on the shipped model."""

import pytest
import torch

import acie
from acie.refinement import (
    AmortisedProposal,
    ExactSpectra,
    GalaxyPrior,
    RefinementModels,
)
from acie.refinement.refiner import _groups
from acie.simulation import Simulator, SurveyConfig


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def observation(engine):
    simulator = Simulator(engine.scm, engine.physics, survey=SurveyConfig(snr=(20.0, 20.1)))
    return simulator.draw(6, torch.Generator().manual_seed(21)).observation


@pytest.fixture(scope="module")
def models(engine):
    return RefinementModels(
        engine.bundle.estimator, engine.physics, engine.scm, engine.noise_model
    )


@torch.no_grad()
def test_the_reduced_likelihood_predicts_the_exact_one(engine, models, observation):
    generator = torch.Generator().manual_seed(4)
    features = engine.bundle.encoder(observation).float()
    proposal = AmortisedProposal(models.estimator.spectral, features)
    noise, _ = proposal.sample_and_log_prob(64, generator)
    prior = GalaxyPrior(models, observation.redshift, generator)
    states, _ = prior(proposal.variables(noise)[0])
    exact = ExactSpectra(models, observation, None)
    settled = exact(states)
    known = settled.log_likelihood
    some = {name: value[:26] for name, value in states.items()}
    reduced = exact.reduced(some, settled.spectra()[:26], torch.zeros(26, len(observation)))
    found, _ = reduced(states)
    error = (found - known)[26:]
    # Among draws that the data do not rule out; they differ by several units of log likelihood.
    plausible = known[26:] > known.amax(0) - 10.0
    assert int(plausible.sum()) > 60
    assert float(error[plausible].abs().median()) < 0.3
    assert float(known.std()) > 3.0


@torch.no_grad()
def test_several_tries_of_the_latent_variables_have_the_same_mean_and_scatter_less(
    engine, models, observation
):
    features = engine.bundle.encoder(observation).float()
    proposal = AmortisedProposal(models.estimator.spectral, features)
    noise, _ = proposal.sample_and_log_prob(1, torch.Generator().manual_seed(4))
    # The same spectral variables over and over: only the latent ones differ. Twice as far from
    # the centre as a draw, where the learned conditional is not perfect.
    x = proposal.variables(2.0 * noise)[0].expand(4000, -1, -1)
    found, level = {}, None
    for tries in (1, 8):
        generator = torch.Generator().manual_seed(5)
        prior = GalaxyPrior(models, observation.redshift, generator, tries)
        states, log_prior = prior(x)
        level = log_prior.mean(0) if level is None else level
        ratio = (log_prior - level).exp()
        halo = torch.log10(states["halo_mass"])
        centre = (ratio * halo).sum(0) / ratio.sum(0)
        found[tries] = ratio.mean(0), ratio.std(0), centre, halo.std(0)
        state = prior.state(torch.arange(4000)[:, None].expand(-1, len(observation)))
        torch.testing.assert_close(state["halo_mass"], states["halo_mass"])
    (one, scatter, centre, width), (many, less, other, _) = found[1], found[8]
    error = (scatter.square() + less.square()).sqrt() / 4000**0.5
    assert bool(((one - many).abs() < 4.0 * error).all())
    assert bool((less < 0.6 * scatter).all())
    assert bool(((centre - other).abs() < 0.2 * width).all())


def test_neighbours_that_are_the_same_draw_are_computed_once(engine, models, observation):
    posterior = engine.infer(observation[:1], 16)
    index = torch.tensor([0, 0, 3, 3, 3, 7] + [9] * 10)[:, None]
    states = {name: value.gather(0, index) for name, value in posterior.values.items()}
    exact = ExactSpectra(models, observation[:1], None)
    settled = exact(states, index)
    assert len(settled.distinct) == 4
    torch.testing.assert_close(settled.spectra(), exact(states).spectra())


def test_answers_do_not_depend_on_the_number_of_threads(engine, observation):
    before = torch.get_num_threads()
    answers = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            answers.append(engine.infer(observation, 32).values["stellar_mass"])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    # Divided sums may round differently; a different draw would differ by a tenth.
    torch.testing.assert_close(*answers, rtol=1e-6, atol=0.0)


def test_a_galaxy_alone_or_in_a_batch_has_the_same_posterior(engine, observation):
    many = engine.infer(observation, 128)
    for galaxy in range(2):
        one = engine.infer(observation[galaxy], 128)
        log = [
            torch.log10(p.values["stellar_mass"][:, g]) for p, g in ((many, galaxy), (one, 0))
        ]
        # Other random numbers: means of 128 draws worth at least 30 each.
        spread = log[0].std() * (2.0 / 30.0) ** 0.5
        assert float((log[0].mean() - log[1].mean()).abs()) < 4.0 * float(spread)


@pytest.mark.parametrize("largest", [1, 2, 3, 20])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 11, 40, 41])
def test_groups_hold_every_galaxy_once_and_are_not_too_large(count, largest):
    groups = [range(count)[group] for group in _groups(count, largest)]
    assert [galaxy for group in groups for galaxy in group] == list(range(count))
    sizes = [len(group) for group in groups]
    assert 1 <= min(sizes) <= max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1
