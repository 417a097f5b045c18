"""Residuals, penalty, projection and report of the physical constraints."""

import math

import pytest
import torch

from acie.errors import PhysicsError
from acie.physics import PhysicsConstraints, TemplateSet, virial_log_dispersion
from acie.physics.constraints import EQUALITIES
from acie.simulation import build_galaxy_scm

INEQUALITIES = {"positivity", "age", "specific_sfr", "virial"}


@pytest.fixture(scope="module")
def constraints(physics):
    return PhysicsConstraints(physics, "cpu")


@pytest.fixture(scope="module")
def drawn(physics):
    """Galaxies of the causal model with their derived masses and dust luminosity."""
    generator = torch.Generator().manual_seed(5)
    redshift = 0.005 + 0.595 * torch.rand(3000, generator=generator, dtype=torch.float64)
    scm = build_galaxy_scm(physics)
    state, _ = scm.sample((3000,), given={"redshift": redshift}, generator=generator)
    read = physics.read_outs(state)
    derived = {"mass_formed": read.mass_formed, "dust_luminosity": read.dust_luminosity,
               "mass_returned": read.mass_formed - state["stellar_mass"]}  # fmt: skip
    return state | derived


def spoiled(state):
    """States far outside the allowed set, in every direction."""
    generator = torch.Generator().manual_seed(6)
    shift = {name: torch.randn(3000, generator=generator).double() for name in state}
    wrong = {name: value * 10.0 ** shift[name] for name, value in state.items()}
    return wrong | {
        "dust_av": state["dust_av"] + shift["dust_av"],
        "metallicity": state["metallicity"] * shift["metallicity"],
        "dust_slope": state["dust_slope"], "redshift": state["redshift"],
        "gas_metallicity": state["gas_metallicity"],
        "ionization_parameter": state["ionization_parameter"],
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_model_draws_are_allowed(constraints, drawn, dtype):
    state = {name: value.to(dtype) for name, value in drawn.items()}
    residuals = constraints.residuals(state)
    assert set(residuals) == INEQUALITIES | set(EQUALITIES)
    # The equalities hold to rounding: of the tables (single precision) or of the state, where
    # single precision leaves few digits to the young stars of quenched galaxies.
    for name, residual in residuals.items():
        assert residual.shape == (3000,)
        limit = 1e-5 if name in EQUALITIES else 0.0 if dtype == torch.float64 else 1e-6
        if name == "dust_energy_balance" and dtype == torch.float32:
            limit = 5e-3
        assert float(residual.abs().max()) <= limit, name
    assert constraints.report(state) == []
    assert float(constraints.penalty(state).max()) < (1e-5 if dtype == torch.float64 else 0.25)


@pytest.mark.parametrize(
    ("name", "variable", "factor", "amount"),
    [
        ("dust_energy_balance", "dust_luminosity", 10.0**0.3, 0.3),
        ("mass_formed", "mass_formed", 10.0**-0.2, -0.2),
        ("star_formation_history", "sfr", 10.0**-0.4, -0.4),
        ("positivity", "dust_av", -1.0, None),
        ("positivity", "velocity_dispersion", -1.0, None),
    ],
)
def test_violations_have_the_right_amount(constraints, drawn, name, variable, factor, amount):
    half = torch.arange(3000) % 2 == 0
    value = torch.where(half, factor * drawn[variable], drawn[variable])
    found = {v.name: v for v in constraints.report(drawn | {variable: value})}
    assert name in found
    violation = found[name]
    assert violation.kind == ("equality" if name in EQUALITIES else "inequality")
    broken = half & (drawn[variable] > 0)
    assert violation.count == int(broken.sum())
    assert torch.equal(violation.broken, broken)
    if amount is not None:
        torch.testing.assert_close(
            violation.amount[half], torch.full((1500,), amount).double(), rtol=0, atol=1e-4
        )
        assert violation.worst == pytest.approx(amount, abs=1e-4)


def test_mass_budget_counts_the_returned_mass(constraints, drawn):
    wrong = drawn | {"mass_returned": 2.0 * drawn["mass_returned"]}
    total = wrong["stellar_mass"] + wrong["mass_returned"]
    residual = constraints.residuals(wrong)["mass_budget"]
    torch.testing.assert_close(residual, torch.log10(total / drawn["mass_formed"]))
    assert bool((residual > 0).all())


def test_age_beyond_the_universe(constraints, drawn, physics):
    wrong = drawn | {"age": 10.0**0.1 * physics.cosmology.age_gyr(drawn["redshift"])}
    excess = constraints.residuals(wrong)["age"]
    torch.testing.assert_close(excess, torch.full_like(excess, 0.1), rtol=0, atol=1e-9)


def test_rate_beyond_the_history(constraints, drawn, physics):
    formed = drawn["mass_formed"]
    wrong = drawn | {"sfr": 10.0**0.25 * 2.0 * formed / (drawn["age"] * 1e9)}
    excess = constraints.residuals(wrong)["specific_sfr"]
    torch.testing.assert_close(excess, torch.full_like(excess, 0.25), rtol=0, atol=1e-6)


def test_virial_band_is_configurable(physics, drawn):
    centre = virial_log_dispersion(drawn["stellar_mass"], drawn["size"])
    state = drawn | {"velocity_dispersion": 10.0 ** (centre - 0.3)}
    for band, expected in ((0.1, -0.2), (0.3 + 1e-9, 0.0)):
        strict = PhysicsConstraints(physics, "cpu", virial_band_dex=band)
        residual = strict.residuals(state)["virial"]
        torch.testing.assert_close(residual, torch.full_like(residual, expected))


def test_virial_published_value():
    # Mdyn = 1e11 Msun, Re = 4 kpc: sigma = 146.6 km/s.
    value = 10.0 ** virial_log_dispersion(torch.tensor(1e11), torch.tensor(4.0), dark_fraction=0.0)
    assert float(value) == pytest.approx(146.6, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_projection_is_feasible_and_idempotent(constraints, drawn, dtype):
    wrong = {name: value.to(dtype) for name, value in spoiled(drawn).items()}
    assert {v.name for v in constraints.report(wrong)} >= INEQUALITIES
    once = constraints.project(wrong)
    assert set(once) == set(wrong)
    assert constraints.report(once) == []
    twice = constraints.project(once)
    for name in once:
        assert torch.equal(twice[name], once[name]), name


def test_projection_leaves_allowed_states(constraints, drawn):
    projected = constraints.project(drawn)
    for name, value in drawn.items():
        # tau is solved for again, to the precision of the solver.
        rtol = 1e-5 if name in ("tau", "mass_formed", "mass_returned", "dust_luminosity") else 0.0
        torch.testing.assert_close(projected[name], value, rtol=rtol, atol=0)


def test_penalty_gradient_is_finite_and_points_back(constraints, drawn):
    wrong = {name: value[:200].clone().requires_grad_() for name, value in spoiled(drawn).items()
             if name not in ("halo_mass", "quenched")}  # fmt: skip
    penalty = constraints.penalty(wrong)
    assert penalty.shape == (200,)
    gradients = torch.autograd.grad(penalty.sum(), list(wrong.values()))
    for name, gradient in zip(wrong, gradients, strict=True):
        assert bool(gradient.isfinite().all()), name
    negative = wrong["dust_av"] < 0
    slope = gradients[list(wrong).index("dust_av")]
    assert bool((slope[negative] < 0).all())


def test_penalty_gradient_matches_differences(constraints, drawn):
    one = {name: value[:1] for name, value in drawn.items() if "dust_l" not in name}
    names = ("sfr", "age", "velocity_dispersion", "size")
    start = tuple((one[name] * 10.0).requires_grad_() for name in names)

    def law(*values):
        return constraints.penalty(one | dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(law, start, eps=1e-6, rtol=1e-3, atol=1e-2)


def test_nan_is_reported(constraints, drawn):
    found = constraints.report(drawn | {"sfr": torch.full_like(drawn["sfr"], math.nan)})
    assert "star_formation_history" in {violation.name for violation in found}


def test_shapes_broadcast(constraints, drawn):
    row = {name: value[:3] for name, value in drawn.items()}
    column = row | {"size": torch.tensor([[1.0], [2.0]]).double()}
    assert constraints.penalty(column).shape == (2, 3)
    assert constraints.project(column)["tau"].shape == (2, 3)


def test_missing_variable(constraints, drawn):
    with pytest.raises(PhysicsError, match="no size"):
        constraints.residuals({name: v for name, v in drawn.items() if name != "size"})


def test_templates_are_enough(physics):
    assert isinstance(physics.templates, TemplateSet)
    made = PhysicsConstraints(physics.templates, "cpu")
    assert made.physics.templates is physics.templates
