"""The reduced likelihood by compiled kernels, against the torch code that they stand for."""

import math
from dataclasses import replace

import pytest
import torch

import acie
from acie.native import available, kernels, kernels_off, subset
from acie.refinement.density import CAUSES
from acie.refinement.reduced import ReducedLikelihood
from acie.seeds import SeedStream
from acie.simulation import ReducedExpansion, Simulator, SpectrumLikelihood, SurveyConfig

pytestmark = pytest.mark.skipif(not available(), reason="there was no compiler")

GALAXIES, ANCHORS = 3, 11
#: What a sum in single precision may lose, of the sum of the absolute values of its terms: 1e-7
#: for each factor and a few times that for the order in which a hundred terms are added.
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def observed(engine):
    """Galaxies with masked pixels, and their own states."""
    survey = SurveyConfig(snr=(10.0, 40.0))
    drawn = Simulator(engine.scm, engine.physics, engine.noise_model, survey).draw(
        GALAXIES, SeedStream(5).generator("reduced")
    )
    generator = torch.Generator().manual_seed(6)
    good = torch.rand(GALAXIES, 6000, generator=generator) > 0.03
    good[0, 1003:1391] = False
    seen = drawn.observation
    seen = replace(seen, flux=seen.flux * good, ivar=seen.ivar * good)
    return seen, {name: drawn.values[name].double() for name in CAUSES}


def drawn_near(truth, count, width=0.03):
    """States about the truth, each ``(sample, batch)``."""
    generator = torch.Generator().manual_seed(count)
    states = {}
    for name, value in truth.items():
        noise = torch.randn(count, GALAXIES, generator=generator, dtype=torch.float64)
        factor = 1.0 + (0.0 if name in ("redshift", "gas_metallicity") else width) * noise
        states[name] = value * factor
    return states


@pytest.fixture(scope="module")
def approximate(engine, observed):
    """The reduced likelihood, made from few anchors: neither pixels nor rank are round numbers."""
    seen, truth = observed
    physics, excess = engine.physics, engine.physics.lsf_excess(seen.redshift, seen.lsf)
    likelihood = SpectrumLikelihood(seen, engine.noise_model, torch.tensor([1.0, 1.3, 1.1]))
    states = drawn_near(truth, ANCHORS)
    with torch.no_grad():
        spectra = physics(states, excess)
        weights = torch.zeros(ANCHORS, GALAXIES, dtype=torch.float64)
        return ReducedLikelihood(
            physics, likelihood, seen.redshift, excess, states, spectra, weights
        )


@pytest.fixture(params=["any", "v3", "v4"])
def generation(request):
    best = next(name for name in ("v4", "v3", "any") if kernels.choose(name))
    if not kernels.choose(request.param):
        pytest.skip(f"this processor does not have the instructions of {request.param}")
    yield request.param
    assert kernels.choose(best)


def both(function, *arguments):
    with torch.no_grad():
        ours = function(*arguments)
        with kernels_off():
            return ours, function(*arguments)


def light_of(state, old, young, nodes, ends, table, log_curve, log_wave):
    """Flux of one galaxy in double precision, ``(sample, pixel)``, and its terms' absolute sum."""
    a_v, slope, dispersion = (part[:, None] for part in state)
    place = ((dispersion.log() - ends[0]) / ends[1]).clamp(-1.0, 1.0) - nodes[0]
    weights = nodes[1] / torch.where(place == 0.0, 1e-12, place)
    weights = weights / weights.sum(-1, keepdim=True)
    depth = -0.4 * math.log(10.0) * a_v * torch.exp(log_curve + slope * log_wave)
    passed = depth.exp(), (depth / 0.44).exp()
    split = old.shape[-1]

    def summed(weights, old, young, table):
        parts = old @ table[..., :split].mT, young @ table[..., split:].mT
        old, young = ((weights * part).sum(-1).T for part in parts)
        return passed[0] * old + passed[1] * young

    terms = weights.abs(), old.abs(), young.abs(), table.abs()
    return summed(weights, old, young, table), summed(*terms)


@pytest.mark.parametrize("samples", [1, 8, 9, 19])
@pytest.mark.parametrize(("pixels", "split", "templates"), [(1, 1, 2), (7, 5, 13), (72, 96, 152)])
def test_light_at_odd_sizes(generation, samples, pixels, split, templates):
    batch, generator = 2, torch.Generator().manual_seed(pixels)
    angle = math.pi * (torch.arange(5, dtype=torch.float64) + 0.5) / 5
    nodes = torch.stack([angle.cos(), angle.sin() * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])])
    ends = torch.tensor([[5.0, 0.4], [4.5, 0.1]], dtype=torch.float64)
    old = torch.randn(samples, batch, split, generator=generator)
    young = torch.randn(samples, batch, templates - split, generator=generator)
    table = torch.randn(batch, pixels, 5, templates, generator=generator)
    log_curve, log_wave = torch.randn(2, batch, pixels, generator=generator) * 0.5
    shape = samples, batch
    state = [
        2.0 * torch.rand(shape, generator=generator, dtype=torch.float64),
        torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5,
        # On either side of the table's ends, too.
        torch.exp(5.0 + torch.randn(shape, generator=generator, dtype=torch.float64)),
    ]
    state[2][0] = torch.exp(ends[:, 0] + ends[:, 1] * nodes[0, 1])
    state[0][-1, 0] = state[2][-1, 1] = math.nan
    found = subset.flux((old, young), state, ends, nodes, table, log_curve, log_wave)
    for galaxy in range(batch):
        own = (part[:, galaxy].double() for part in (old, young))
        given = (part[galaxy].double() for part in (ends, table, log_curve, log_wave))
        mine = [part[:, galaxy] for part in state]
        expected, terms = light_of(mine, *own, nodes, *given)
        # Depths of a few lose a few more digits in the exponential; see vector.h for "any".
        error = (found[galaxy] - expected).abs() / terms
        assert bool((error.nan_to_num() < 10.0 * ROUNDING).all())
        assert torch.equal(found[galaxy].isnan(), expected.isnan())
        assert int(expected.isnan().sum()) == pixels


@pytest.mark.parametrize("count", [0, 1, 8, 9, 16, 17, 45])
def test_likelihood_and_coordinates(approximate, observed, generation, count):
    states = drawn_near(observed[1], count)
    (value, place), (expected, expected_place) = both(approximate, states)
    assert value.shape == expected.shape == (count, GALAXIES)
    assert value.dtype == torch.float64
    # In standard errors. All 6000 pixels at a signal to noise of 40 make 3100 of the light, of
    # which rounding takes its part.
    torch.testing.assert_close(place, expected_place, rtol=1e-5, atol=3100 * ROUNDING)
    # The likelihood is minus half of their square, or flatter.
    length = 1.0 + expected_place.square().sum(-1).sqrt().double()
    assert bool(((value - expected).abs() < 3100 * ROUNDING * length).all())


def test_states_that_are_not_numbers_and_impossible_ones(approximate, observed, generation):
    states = drawn_near(observed[1], 21)
    for row, name in enumerate(("stellar_mass", "dust_av", "dust_slope", "velocity_dispersion")):
        states[name][row, 1] = math.nan
    states["velocity_dispersion"][5:8] = torch.tensor([[1.0], [1e4], [0.0]]).double()
    # Far from where the expansion holds.
    states["stellar_mass"][8:10] *= 100.0
    (value, place), (expected, expected_place) = both(approximate, states)
    assert torch.equal(place.isnan(), expected_place.isnan())
    assert torch.equal(value.isinf(), expected.isinf())
    assert bool(value[:4, 1].isneginf().all())
    assert not bool(value.isnan().any())
    rest = torch.ones(21, dtype=torch.bool)
    rest[:4] = rest[8:10] = False
    torch.testing.assert_close(value[rest], expected[rest], rtol=1e-4, atol=0.01)


@pytest.mark.parametrize("rank", [1, 5, 18, 24, 25])
def test_expansion_of_any_rank_with_masked_pixels(engine, observed, generation, rank):
    seen, _ = observed
    likelihood = SpectrumLikelihood(seen, engine.noise_model)
    generator = torch.Generator().manual_seed(rank)
    centre = seen.flux + 0.5 * torch.rand(GALAXIES, 6000, generator=generator)
    wave = torch.linspace(0.0, 1.0, 6000)
    basis = torch.stack([torch.cos(math.pi * k * wave) for k in range(rank)]).expand(3, -1, -1)
    # Any pixel, those without a measurement too.
    pixels = torch.arange(3, 6000, 89).expand(3, -1).contiguous()
    assert bool((likelihood.ivar.gather(1, pixels) == 0.0).any(1).all())
    expansion = ReducedExpansion(
        likelihood, centre, basis.contiguous(), pixels, torch.ones(pixels.shape)
    )
    coordinates = 0.02 * torch.randn(GALAXIES, 23, rank, generator=generator)
    flux = (centre[:, None] + coordinates @ basis).gather(2, pixels[:, None].expand(-1, 23, -1))
    ours, theirs = both(expansion, coordinates, flux)
    # Squares over 6000 pixels, in standard errors, of the components: what rounding takes from.
    sizes = (likelihood.weight(centre)[0][:, None] * basis.square()).sum(-1).sqrt()
    whole = (coordinates.abs() @ sizes[..., None])[..., 0].T.square().double()
    residual = expansion._constant[:, 0, 0]
    # And 6000 logarithms of changes of the weights, each of numbers about one.
    allowed = ROUNDING * (whole + residual) + 6000 * 2.4e-7
    assert bool(((ours - theirs).abs() < allowed).all())


def test_gradients_take_the_code_of_torch(approximate, observed):
    states = drawn_near(observed[1], 4)
    with torch.enable_grad():
        states["dust_av"] = states["dust_av"].requires_grad_()
        value, _ = approximate(states)
    (slope,) = torch.autograd.grad(value.sum(), states["dust_av"])
    step = 1e-3
    ends = []
    for sign in (1.0, -1.0):
        moved = {**states, "dust_av": states["dust_av"].detach() + sign * step}
        with torch.no_grad():
            ends.append(approximate(moved)[0])
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2.0 * step), rtol=0.02, atol=1.0)
