"""Questions about galaxies on the shipped model: sums, laws, published numbers."""

import math

import pytest
import torch

import acie
from acie.errors import ConfigurationError, DataError, UnknownVariable
from acie.questions import (
    ALTERNATIVES,
    alternatives,
    draws_of,
    explain_difference,
    explain_effect,
    galaxy_effect,
    galaxy_outcome,
    galaxy_sensitivity,
    mediated_effect,
    path_effects,
    population_sensitivity,
    seek_target,
)
from acie.questions.alternatives import (
    andrews_martini2013_oxygen,
    behroozi2013_log_mass,
    behroozi2019_log_mass,
    kirby2013_log_metallicity,
    speagle2014_log_sfr,
)
from acie.questions.falsify import falsify_galaxy_graph
from acie.questions.identify import identify_in_galaxy
from acie.questions.population import population_effect
from acie.scm.outcomes import ReadOut, evaluate_outcome
from acie.simulation import Simulator, SurveyConfig
from acie.simulation.relations import cosmic_age_gyr

MORE_MASS = "stellar_mass*=1.5"


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def galaxies(engine):
    survey = SurveyConfig(redshift=(0.05, 0.2), snr=(20.0, 20.1))
    drawn = Simulator(engine.scm, engine.physics, survey=survey).draw(
        3, torch.Generator().manual_seed(1)
    )
    abduction = engine.abduct(drawn.observation, 64)
    return [draws_of(abduction, galaxy) for galaxy in (0, 2)]


@pytest.fixture(scope="module")
def break_(engine):
    return galaxy_outcome(engine.scm, engine.physics, "dn4000")


def test_names_resolve_to_variables_features_and_windows(engine):
    assert galaxy_outcome(engine.scm, engine.physics, "mass") == "stellar_mass"
    colour = galaxy_outcome(engine.scm, engine.physics, "g_r")
    assert isinstance(colour, ReadOut)
    assert "stellar_mass" not in colour.causes
    flux = galaxy_outcome(engine.scm, engine.physics, "flux:4000-4500")
    assert {"stellar_mass", "redshift"} <= set(flux.causes)
    with pytest.raises(UnknownVariable, match="dn4000"):
        galaxy_outcome(engine.scm, engine.physics, "colour")
    with pytest.raises(ConfigurationError, match="angstrom"):
        galaxy_outcome(engine.scm, engine.physics, "flux:100-200")


@pytest.mark.parametrize(
    "name", ["dn4000", "balmer_decrement", "light_weighted_age", "halpha_luminosity", "u_r"]
)
def test_declared_causes_are_all_the_causes(engine, galaxies, name):
    outcome = galaxy_outcome(engine.scm, engine.physics, name)
    state = galaxies[0].values
    now = evaluate_outcome(outcome, state)
    others = {n: v * 1.05 for n, v in state.items() if n not in outcome.causes and n != "redshift"}
    moved = evaluate_outcome(outcome, {**state, **others})
    torch.testing.assert_close(moved, now, rtol=2e-5, atol=0)


def test_the_effect_is_that_of_the_engine(engine, galaxies, break_):
    found = galaxy_effect(engine.scm, galaxies[0], MORE_MASS, break_)
    world = engine.scm.predict(
        galaxies[0].noise, galaxies[0].values, engine.act(MORE_MASS), strict=True
    )
    torch.testing.assert_close(found.after, break_.function(world))
    held = [n for n in engine.scm.graph.descendants(["stellar_mass"]) if n != "stellar_mass"]
    none = galaxy_effect(engine.scm, galaxies[0], MORE_MASS, break_, held)
    assert float(none.difference.abs().max()) < 1e-6


def test_explanations_add_up_to_the_effect(engine, galaxies, break_):
    draws = galaxies[0]
    whole = galaxy_effect(engine.scm, draws, MORE_MASS, break_).difference
    found = explain_effect(engine.scm, draws, MORE_MASS, break_)
    assert set(found) == {"first_steps", "causes"}
    for explanation in found.values():
        assert explanation.exact
        total = sum(share.value for share in explanation.shares.values())
        assert total == pytest.approx(float(whole.mean()), abs=1e-6)
        assert explanation.total.value == pytest.approx(float(whole.mean()), abs=1e-6)
        sizes = [abs(share.value) for share in explanation.shares.values()]
        assert sizes == sorted(sizes, reverse=True)
    assert set(found["causes"].shares) <= set(break_.causes)


def test_direct_and_indirect_effects(engine, galaxies, break_):
    found = mediated_effect(engine.scm, galaxies[0], MORE_MASS, break_, ["metallicity"])
    paths = path_effects(
        engine.scm, galaxies[0], MORE_MASS, break_, [("stellar_mass", "metallicity", "dn4000")]
    )
    (alone,) = paths.values()
    # The only path through metallicity is this one.
    assert found["indirect"].value == pytest.approx(alone.value, abs=1e-6)
    assert alone.value > 0.0


def test_a_difference_is_shared_out_completely(engine, galaxies, break_):
    first, second = (draws.thinned(8) for draws in galaxies)
    found = explain_difference(engine.scm, first, second, break_)
    difference = break_.function(second.values) - break_.function(first.values)
    total = sum(share.value for share in found.shares.values())
    # Noise is abducted and propagated again: equal to rounding of the single-precision spectra.
    assert total == pytest.approx(float(difference.mean()), abs=1e-4)
    # Broadening is no part of the feature, and size acts on nothing else.
    assert {"size", "velocity_dispersion"}.isdisjoint(found.shares)
    same = explain_difference(engine.scm, first, first, break_)
    assert max(abs(share.value) for share in same.shares.values()) < 1e-6


def test_a_target_is_reached_or_said_to_be_out_of_reach(engine, galaxies):
    colour = galaxy_outcome(engine.scm, engine.physics, "g_r")
    draws = galaxies[0]
    now = float(evaluate_outcome(colour, draws.values).median())
    found = seek_target(engine.scm, draws, "age", colour, now - 0.1)
    assert found.share > 0.9
    hit = found.reached
    after = galaxy_effect(
        engine.scm, draws.take(hit.nonzero()[:, 0]), {"age": found.value[hit]}, colour
    ).after
    torch.testing.assert_close(after, torch.full_like(after, now - 0.1), atol=2e-5, rtol=0)
    # No amount of dust makes a galaxy bluer than it is without any.
    clear = galaxy_effect(engine.scm, draws, "dust_av=0", colour).after
    none = seek_target(engine.scm, draws, "dust_av", colour, float(clear.min()) - 0.05)
    assert none.share == 0.0
    assert float((none.closest - clear).abs().max()) < 2e-3


#: log10 M at log10 M_h = 11, 12, 13, 14 and z = 0, and (UniverseMachine) 11, 12, 13 at z = 1:
#: evaluated from the papers' equations independently of this code.
PUBLISHED = [
    (behroozi2013_log_mass, 0.0, [8.670, 10.428, 10.954, 11.204]),
    (behroozi2019_log_mass, 0.0, [8.560, 10.348, 11.055, 11.547]),
    (behroozi2019_log_mass, 1.0, [8.188, 10.333, 10.874]),
]


@pytest.mark.parametrize(("relation", "redshift", "expected"), PUBLISHED)
def test_mass_relations_have_their_published_values(relation, redshift, expected):
    halo = 10.0 ** torch.arange(11.0, 11.0 + len(expected), dtype=torch.float64)
    z = torch.full_like(halo, redshift)
    found = relation({"halo_mass": halo, "redshift": z})
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), atol=1.5e-3, rtol=0
    )


def test_other_relations_have_their_published_values():
    mass = 10.0 ** torch.tensor([9.5, 10.0, 10.5, 11.0], dtype=torch.float64)
    # The published figures are for a cosmic age of 12.2 Gyr: find the redshift that has it.
    grid = torch.linspace(0.05, 0.2, 20_001, dtype=torch.float64)
    redshift = grid[(cosmic_age_gyr(grid) - 12.2).abs().argmin()]
    state = {
        "stellar_mass": mass, "redshift": redshift.expand(4), "quenched": torch.zeros_like(mass),
    }  # fmt: skip
    torch.testing.assert_close(
        speagle2014_log_sfr(state, {"quenched_log_ssfr": -11.9}),
        torch.tensor([-0.201, 0.060, 0.321, 0.583], dtype=torch.float64), atol=1e-3, rtol=0,
    )  # fmt: skip
    # Andrews & Martini 2013: 8.798 - log10(1 + (10^8.901 / M)^0.640) at 1e10, by hand: 8.7195.
    assert float(andrews_martini2013_oxygen(state)[1]) == pytest.approx(8.7195, abs=1e-3)
    # Kirby et al. 2013: [Fe/H] = -1.69 at 1e6 solar masses.
    dwarf = {"stellar_mass": torch.tensor(1e6, dtype=torch.float64)}
    assert float(kirby2013_log_metallicity(dwarf)) == pytest.approx(-1.69 + math.log10(0.02))


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_every_alternative_is_a_model_of_its_own(engine, name):
    (variant,) = alternatives(engine.scm, [name])
    values, noise = engine.scm.sample(
        (200,), given={"redshift": torch.tensor(0.1)}, generator=torch.Generator().manual_seed(2)
    )
    del noise["halo_mass"]
    drawn, own = variant.model.sample(
        (200,), given={"redshift": torch.tensor(0.1)}, generator=torch.Generator().manual_seed(3)
    )
    back = variant.model.predict(variant.model.abduct(drawn), drawn, {})
    assert all(back[n] is drawn[n] for n in drawn)
    for changed in variant.changed:
        again = variant.model.mechanisms[changed].assign(
            own[changed], {p: drawn[p] for p in variant.model.graph.parents(changed)}
        )
        torch.testing.assert_close(again, drawn[changed])
    ratio = variant.log_ratio(engine.scm, values)
    assert bool((ratio != 0.0).any())
    # A density ratio has mean one under the base, so at most one where tails are not seen.
    assert float(ratio.exp().mean()) < 2.0


def test_sensitivity_of_one_galaxy(engine, galaxies, break_):
    names = ["mass_behroozi2019", "metallicity_kirby2013", "stellar_mass>metallicity:1"]
    found = galaxy_sensitivity(
        engine.scm, galaxies[0], MORE_MASS, break_, alternatives(engine.scm, names)
    )
    by_name = {row.name: row for row in found.rows}
    low, high = found.interval
    assert low <= found.statistical.value <= high
    assert found.envelope[0] <= min(low, found.statistical.low)
    assert found.envelope[1] >= max(high, found.statistical.high)
    # With all of the relation a hidden cause, metallicity carries nothing: the effect is that of
    # holding it, with the same weights.
    held = galaxy_effect(engine.scm, galaxies[0], MORE_MASS, break_, ["metallicity"]).spread()
    cut = by_name["stellar_mass>metallicity:1"]
    assert cut.size == pytest.approx(found.size)
    assert cut.effect.value == pytest.approx(held.value, abs=2e-4)


def test_an_alternative_that_the_draws_cannot_speak_about_is_refused(engine, galaxies, break_):
    strict = alternatives(engine.scm, ["stellar_mass~metallicity:0.99999"])
    found = galaxy_sensitivity(engine.scm, galaxies[0], MORE_MASS, break_, strict)
    (row,) = found.rows
    assert row.effect is None
    assert "effective draws" in row.note
    assert found.refused == (row.name,)
    assert found.interval == (found.statistical.value, found.statistical.value)
    with pytest.raises(ConfigurationError, match="mass_behroozi2013"):
        alternatives(engine.scm, ["nonsense"])


def test_the_population_on_two_rungs(engine, break_):
    generator = torch.Generator().manual_seed(0)
    found = population_effect(
        engine.scm, MORE_MASS, break_, by="quenched", num_samples=1500, generator=generator
    )
    # Heavier galaxies live in heavier halos and are more often quenched: more is seen than done.
    assert found.seen.low > found.average.high
    assert [group.low for group in found.groups] == [0.0, 1.0]
    counts = sum(group.effect.count for group in found.groups)
    assert counts == round(1500 * found.possible)
    nothing = population_effect(engine.scm, "dust_av=0", "sfr", num_samples=200)
    assert nothing.seen is None
    assert nothing.average.value == 0.0


def test_sensitivity_of_the_population(engine, break_):
    variants = alternatives(engine.scm, ["stellar_mass>metallicity:0", "metallicity_kirby2013"])
    found = population_sensitivity(
        engine.scm, MORE_MASS, break_, variants, given={"redshift": torch.tensor(0.1)},
        num_samples=400, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    same, other = found.rows
    # The same noises make the same population, so that nothing is left but the assumption.
    assert same.effect.value == pytest.approx(found.statistical.value, abs=1e-7)
    assert other.effect.value != pytest.approx(found.statistical.value, abs=1e-4)


def catalogue(scm, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    redshift = 0.02 + 0.3 * torch.rand(rows, generator=generator, dtype=torch.float64)
    return scm.sample((rows,), given={"redshift": redshift}, generator=generator)[0]


@pytest.mark.slow
def test_catalogues_of_the_model_seldom_refute_its_graph_and_others_do(engine):
    refuted = 0
    for seed in range(20):
        values = catalogue(engine.scm, 600, seed)
        values.pop("halo_mass")
        refuted += falsify_galaxy_graph(engine.scm, values).rejected
    # Binomial(20, 0.05): mean 1, deviation 0.97; four of them.
    assert refuted <= 4
    (variant,) = alternatives(engine.scm, ["metallicity_from_sfr"])
    found = falsify_galaxy_graph(engine.scm, catalogue(variant.model, 2000, 0))
    assert found.rejected
    assert "metallicity" in {name for t in found.refuted for name in (t.variable, t.other)}


def test_a_catalogue_without_variables_is_refused(engine):
    column = torch.linspace(1.0, 2.0, 50)
    with pytest.raises(DataError, match="three columns"):
        falsify_galaxy_graph(engine.scm, {"mass": column, "tau": column, "id": column})


def test_the_graph_of_the_galaxy(engine):
    scm, physics = engine.scm, engine.physics
    report = identify_in_galaxy(scm, physics, "mass", "dn4000")
    assert report.identified
    assert {frozenset(s) for s in report.back_door} >= {frozenset(("redshift", "halo_mass"))}
    hidden = identify_in_galaxy(scm, physics, "stellar_mass", "sfr", ["halo_mass", "quenched"])
    assert not hidden.identified
    confounded = identify_in_galaxy(
        scm, physics, "stellar_mass", "metallicity", (), [("stellar_mass", "metallicity")]
    )
    assert not confounded.identified
    assert "halo_mass" in {name for name, _ in confounded.instruments}
    with pytest.raises(ConfigurationError, match="hidden"):
        identify_in_galaxy(scm, physics, "mass", "sfr", ["sfr"])
