"""The causal model of a galaxy: supports, abduction and empty actions."""

import pytest
import torch

from acie.physics.sfh import delayed_tau_specific_sfr
from acie.simulation import build_galaxy_scm


@pytest.fixture(scope="module")
def drawn(scm):
    generator = torch.Generator().manual_seed(4)
    redshift = 0.005 + 0.595 * torch.rand(2000, generator=generator, dtype=torch.float64)
    return scm.sample((2000,), given={"redshift": redshift}, generator=generator)


def test_draws_respect_supports(scm, drawn):
    values, noise = drawn
    assert set(values) == set(scm.variables)
    assert set(noise) == set(values) - {"redshift", "tau"}
    for name, variable in scm.variables.items():
        low, high = variable.support
        value = values[name]
        assert bool(value.isfinite().all()), name
        assert bool(((value >= low) & (value <= high)).all()), name
    assert set(values["quenched"].unique().tolist()) == {0.0, 1.0}


def test_tau_gives_the_star_formation_rate(physics, drawn):
    values, _ = drawn
    surviving = physics.surviving_fraction(values["age"], values["tau"])
    rate = delayed_tau_specific_sfr(values["age"] / values["tau"])
    rate = rate * values["stellar_mass"] / surviving / (values["age"] * 1e9)
    torch.testing.assert_close(rate, values["sfr"], rtol=1e-9, atol=0)
    cosmic = physics.cosmology.age_gyr(values["redshift"])
    assert bool((values["age"] <= cosmic).all())


def test_abduction_and_prediction_return_the_galaxy(scm, drawn):
    values, noise = drawn
    found = scm.abduct(values, torch.Generator().manual_seed(1))
    again, _ = scm.sample(
        (2000,), given={"redshift": values["redshift"]}, noise=found
    )  # fmt: skip
    for name in values:
        torch.testing.assert_close(again[name], values[name], rtol=1e-7, atol=1e-9)
    for name in set(noise) - {"quenched"}:
        torch.testing.assert_close(found[name], noise[name], rtol=1e-5, atol=1e-6)


def test_empty_action_changes_nothing(scm, drawn):
    values, _ = drawn
    worlds = scm.counterfactual(values, {}, generator=torch.Generator().manual_seed(1))
    for name in values:
        assert torch.equal(worlds[name][1], worlds[name][0])
        assert torch.equal(worlds[name][0], values[name])


def test_action_moves_descendants_only(scm, drawn):
    values = {name: value[:200] for name, value in drawn[0].items()}
    noise = {name: value[:200] for name, value in drawn[1].items()}
    from acie.scm import parse_interventions

    actions = parse_interventions("sfr *= 0.5", scm.variables, scm.aliases)
    moved = scm.predict(noise, values, actions)
    for name in ("redshift", "halo_mass", "quenched", "stellar_mass", "metallicity", "size"):
        assert moved[name] is values[name]
    torch.testing.assert_close(moved["sfr"], 0.5 * values["sfr"])
    # Less star formation at fixed mass: more metals in the gas, an older history.
    assert bool((moved["gas_metallicity"] > values["gas_metallicity"]).double().mean() > 0.99)
    assert bool((moved["age"] / moved["tau"] > values["age"] / values["tau"]).all())


def test_coefficients_can_be_replaced(physics):
    from acie.simulation import load_relations

    table = load_relations()
    table["stellar_mass"] = table["stellar_mass"] | {"scatter_dex": 1e-6}
    model = build_galaxy_scm(physics, table)
    given = {"redshift": torch.tensor(0.1), "halo_mass": torch.tensor(1e12)}
    values, _ = model.sample((50,), given=given, generator=torch.Generator().manual_seed(2))
    assert float(values["stellar_mass"].log10().std()) < 1e-5
