"""The kernels of spectra against the torch code that they stand in for."""

import math

import pytest
import torch

import acie
from acie.native import available, kernels_off, usable
from acie.observation import Observation
from acie.simulation import NoiseModel, Simulator, SpectrumLikelihood

pytestmark = pytest.mark.skipif(not available(), reason="the kernels were not compiled")

WAVE = 6000


@pytest.fixture(scope="module")
def engine():
    return acie.load("galaxy-v1")


@pytest.fixture(scope="module")
def draws(engine):
    """States of 21 galaxies, which is no multiple of what a vector holds."""
    return Simulator(engine.scm, engine.physics).draw(21, torch.Generator().manual_seed(5))


def both(function):
    """What kernels make and what torch makes."""
    with torch.no_grad():
        ours = function()
        with kernels_off():
            return ours, function()


def states_at(draws, redshift, dispersion):
    state = {name: value.double().clone() for name, value in draws.values.items()}
    count = len(state["redshift"])
    state["redshift"] = torch.full((count,), redshift, dtype=torch.float64)
    state["velocity_dispersion"] = torch.linspace(*dispersion, count, dtype=torch.float64)
    return state


@pytest.mark.parametrize("redshift", [0.002, 0.1037, 0.6])
@pytest.mark.parametrize("dispersion", [(20.0, 60.0), (60.0, 130.0), (130.0, 500.0)])
@pytest.mark.parametrize("excess", [None, 500.0, -4000.0])
def test_spectra_are_those_of_torch(engine, draws, redshift, dispersion, excess):
    physics, state = engine.physics, states_at(draws, redshift, dispersion)
    light, at = physics.coefficients(state), torch.tensor([redshift])
    # A resolution that changes along the spectrum, sharper than the templates in places or not.
    given = None if excess is None else excess + torch.linspace(0.0, 1000.0, WAVE)[None]

    def spectra():
        return physics.observe(light, state, physics.sightlines(at, given)[0])

    ours, torchs = both(spectra)
    scale = torchs.abs().amax(1, keepdim=True)
    # Rounding is 5e-7 of the brightest pixel; a filter cut off adds at most four times as much.
    assert ((ours - torchs).abs() / scale).max() < 4e-6
    assert not torch.equal(ours, torchs)


def test_rows_do_not_depend_on_each_other(engine, draws):
    physics, state = engine.physics, states_at(draws, 0.1, (30.0, 300.0))
    light = physics.coefficients(state)
    with torch.no_grad():
        sightline = physics.sightlines(torch.tensor([0.1]))[0]
        whole = physics.observe(light, state, sightline)
        for row in (0, 10, 20):
            one = slice(row, row + 1)
            alone = physics.observe(
                tuple(part[one] for part in light),
                {name: value[one] for name, value in state.items()},
                sightline,
            )
            # Its filter may be shorter than that of the widest of all.
            torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=2e-6 * whole[row].max())


def test_what_is_not_a_number_stays_in_its_row(engine, draws):
    physics, state = engine.physics, states_at(draws, 0.1, (100.0, 300.0))
    light = physics.coefficients(state)
    state["velocity_dispersion"][4] = math.nan
    state["dust_av"][7] = math.nan
    with torch.no_grad():
        found = physics.observe(light, state, physics.sightlines(torch.tensor([0.1]))[0])
    bad = found.isnan().any(1)
    assert bad.nonzero()[:, 0].tolist() == [4, 7]


def test_writes_where_it_is_told_to(engine, draws):
    physics, state = engine.physics, states_at(draws, 0.1, (30.0, 300.0))
    light, count = physics.coefficients(state), 21
    with torch.no_grad():
        sightline = physics.sightlines(torch.tensor([0.1]))[0]
        expected = physics.observe(light, state, sightline)
        room = torch.full((count + 2, WAVE), -1.0)
        found = physics.observe(light, state, sightline, room[1:-1])
        assert found.data_ptr() == room[1:-1].data_ptr()
        assert torch.equal(room[1:-1], expected)
        assert (room[[0, -1]] == -1.0).all()
        # Rows that are not neighbours in memory.
        apart = torch.full((count, 2, WAVE), -1.0)
        physics.observe(light, state, sightline, apart[:, 1])
        assert torch.equal(apart[:, 1], expected)
        assert (apart[:, 0] == -1.0).all()


def test_gradients_take_the_torch_code(engine, draws):
    physics, state = engine.physics, states_at(draws, 0.1, (100.0, 300.0))
    light = physics.coefficients(state)
    state["dust_av"].requires_grad_()
    found = physics.observe(light, state, physics.sightlines(torch.tensor([0.1]))[0])
    found.sum().backward()
    assert (state["dust_av"].grad < 0.0).all()


def observation(generator):
    ivar = torch.rand(1, WAVE, generator=generator)
    ivar[0, 100:400] = 0.0
    return Observation(
        flux=10.0 + torch.randn(1, WAVE, generator=generator),
        ivar=ivar,
        lsf=torch.full((1, WAVE), 60.0),
        redshift=torch.tensor([0.1]),
    )


def test_sums_over_the_pixels_are_those_of_torch():
    generator = torch.Generator().manual_seed(1)
    likelihood = SpectrumLikelihood(observation(generator), NoiseModel())
    level = torch.tensor([0.1, 1.0, 5.0, 1e3, 1e5])[:, None, None]
    models = level + 10.0 * torch.rand(5, 1, WAVE, generator=generator)
    ours, torchs = both(lambda: likelihood.sums(models))
    likelihood._precision = torch.float64
    exact = likelihood.sums(models)
    for left, middle, right in zip(ours, exact, torchs, strict=True):
        assert left.shape == right.shape
        assert left.dtype == right.dtype
        scale = middle.abs().amax(0)
        assert ((left - middle).abs() / scale).max() < 1e-6
        assert ((left - middle).abs() / scale).max() < 2.0 * ((right - middle).abs() / scale).max()


def test_usable_only_where_nothing_else_is_asked_for():
    plain = torch.ones(3)
    assert usable(plain)
    assert not usable(plain.double())
    assert not usable(plain, torch.nn.Parameter(plain))
    with torch.no_grad():
        assert usable(plain, torch.ones(3, requires_grad=True))
    with kernels_off():
        assert not usable(plain)
    seen = []
    torch.jit.trace(lambda x: seen.append(usable(x)) or x + 1.0, plain, check_trace=False)
    assert seen == [False]
