"""Choosing what to observe or simulate next: laws of scores, of batches, and of the loop."""

import copy
import math

import pytest
import torch

import acie
from acie.active import (
    ActiveLearner,
    GalaxyPool,
    GaussianProcess,
    PoolBuilder,
    RegressionPool,
    UncertaintySelector,
)
from acie.active.batches import BATCH_RULES
from acie.errors import ACIEError, CausalError, ConfigurationError, NotFitted, UnknownVariable
from acie.simulation import Simulator, SurveyConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian_pool(spread, means, draws=256, exposure=4.0, **options):
    """Posteriors with exactly these means and standard deviations, uncorrelated."""
    spread, means = torch.as_tensor(spread, dtype=torch.float64), means.double()
    dim = means.shape[1]
    noise = torch.randn(draws, len(means), dim, generator=seeded(), dtype=torch.float64)
    noise = noise - noise.mean(0)
    for galaxy in range(len(means)):  # white exactly, so that no Monte Carlo error is left
        factor = torch.linalg.cholesky(torch.atleast_2d(torch.cov(noise[:, galaxy].T)))
        white = torch.linalg.solve_triangular(factor, noise[:, galaxy].T, upper=False).T
        noise[:, galaxy] = white
    names = tuple(str(i) for i in range(len(means)))
    theta = means + noise * spread[:, None]
    snr = options.pop("snr", torch.full((len(means),), 10.0))
    eye = torch.eye(dim, dtype=torch.float64)
    return GalaxyPool(names, theta, eye, snr, exposure=exposure, **options)


@pytest.fixture
def pool():
    means = 3.0 * torch.randn(9, 3, generator=seeded(5))
    return gaussian_pool(torch.linspace(0.1, 0.9, 9), means)


# -- batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", BATCH_RULES)
@pytest.mark.parametrize(
    "by", ["posterior_variance", "variance_reduction", "information_gain", "random"]
)
def test_the_whole_pool_is_a_permutation(pool, rule, by):
    found = UncertaintySelector(by, rule).select(pool, len(pool))
    assert sorted(found.index.tolist()) == list(range(len(pool)))
    assert torch.equal(found.scores, found.pool_scores[found.index])


@pytest.mark.parametrize("rule", BATCH_RULES)
def test_the_first_has_the_highest_variance(pool, rule):
    found = UncertaintySelector("posterior_variance", rule).select(pool, 3)
    assert found.index[0] == found.pool_scores.argmax() == 8


def test_without_diversity_the_order_is_that_of_the_scores(pool):
    found = UncertaintySelector("posterior_variance", "highest").select(pool, 9)
    assert found.index.tolist() == list(range(8, -1, -1))


@pytest.mark.parametrize("rule", ["determinantal", "k_centre"])
@pytest.mark.parametrize("seed", range(5))
def test_copies_are_taken_only_when_nothing_else_is_left(rule, seed):
    # Three galaxies far apart, the most uncertain one five times.
    means = torch.tensor([[0.0], [0.0], [0.0], [0.0], [0.0], [9.0], [-9.0]])
    many = gaussian_pool([0.9] * 5 + [0.3, 0.2], means)
    found = UncertaintySelector(batch=rule).select(many, 4, seeded(seed)).index.tolist()
    assert found[0] < 5
    assert set(found[1:3]) == {5, 6}
    assert UncertaintySelector(batch="highest").select(many, 3).index.max() < 5


def test_the_determinantal_batch_is_the_greedy_determinant():
    scores = torch.rand(12, generator=seeded(), dtype=torch.float64) + 0.1
    x = torch.randn(12, 2, generator=seeded(1), dtype=torch.float64)
    kernel = torch.exp(-0.5 * torch.cdist(x, x).square())
    weighted = scores.sqrt()[:, None] * kernel * scores.sqrt()
    chosen: list[int] = []
    for _ in range(6):
        rest = [i for i in range(12) if i not in chosen]
        chosen.append(max(rest, key=lambda i: weighted[[*chosen, i]][:, [*chosen, i]].det()))
    assert BATCH_RULES["determinantal"](scores, kernel.__getitem__, 6).tolist() == chosen


def test_k_centre_covers_within_twice_the_smallest_radius():
    x = torch.rand(9, 1, generator=seeded(2), dtype=torch.float64)
    kernel = torch.exp(-0.5 * torch.cdist(x, x).square())
    distance = (2.0 - 2.0 * kernel).clamp(min=0.0).sqrt()

    def radius(index):
        return float(distance[:, list(index)].amin(1).max())

    found = BATCH_RULES["k_centre"](torch.ones(9).double(), kernel.__getitem__, 3)
    best = min(radius(index) for index in torch.combinations(torch.arange(9), 3).tolist())
    assert radius(found.tolist()) <= 2.0 * best


def test_the_generator_decides_everything(pool):
    selector = UncertaintySelector("random")
    first, same, other = (
        selector.select(pool, 6, seeded(s)).index.tolist() for s in (1, 1, 2)
    )
    assert first == same != other
    # Uncertainty does not depend on it where scores differ.
    chosen = [UncertaintySelector().select(pool, 6, seeded(s)).index.tolist() for s in (1, 2)]
    assert chosen[0] == chosen[1]


# -- scores ----------------------------------------------------------------------------------


def test_the_information_of_a_linear_gaussian_experiment_is_exact():
    # Prior N(0, 1), one datum of variance 1/a; f times the exposure has variance 1/(f a).
    a, f = 2.5, 4.0
    spread = (1.0 + a) ** -0.5
    one = gaussian_pool([spread], torch.zeros(1, 3), exposure=f, template_error=0.0)
    want = 3 * 0.5 * math.log((1.0 + f * a) / (1.0 + a))
    assert float(one.score("information_gain")) == pytest.approx(want, rel=1e-9)


def test_the_fall_of_the_variance_is_exact_for_a_correlated_population():
    # Prior covariance P, information A, f times of it: (1/P + A)^-1 - (1/P + f A)^-1.
    f, draws = 4.0, 64
    prior = torch.tensor([[1.0, 0.8, 0.3], [0.8, 1.0, 0.1], [0.3, 0.1, 1.0]], dtype=torch.float64)
    part = torch.randn(3, 3, generator=seeded(4), dtype=torch.float64)
    told = part @ part.T
    before, after = (torch.linalg.inv(torch.linalg.inv(prior) + k * told) for k in (1.0, f))
    white = gaussian_pool([1.0], torch.zeros(1, 3), draws=draws).theta
    theta = white @ torch.linalg.cholesky(before).T
    one = GalaxyPool(("0",), theta, prior, torch.ones(1), exposure=f, template_error=0.0)
    want = float((before - after).trace() / 3)
    assert float(one.score("variance_reduction")) == pytest.approx(want, rel=1e-9)
    unknown = gaussian_pool([1.0], torch.zeros(1, 2))
    assert float(unknown.score("variance_reduction")) == pytest.approx(0.0, abs=1e-9)


def test_information_has_its_limits():
    def gain(spread, **options):
        one = gaussian_pool([spread], torch.zeros(1, 2), **options)
        return float(one.score("information_gain"))

    assert gain(1.0) == pytest.approx(0.0, abs=1e-9)
    assert gain(1e-4, template_error=0.0) == pytest.approx(math.log(4.0), rel=1e-6)
    assert gain(0.3, exposure=2.0) < gain(0.3, exposure=4.0)
    # The error of the templates is not observed away.
    assert gain(0.3, snr=torch.tensor([500.0])) < 0.05 * gain(0.3, snr=torch.tensor([5.0]))


def test_effects_of_draws_without_room_are_left_out(pool):
    effect = torch.randn(256, 9, generator=seeded(3), dtype=torch.float64)
    effect[::3, 4] = torch.nan
    known = GalaxyPool(pool.names, pool.theta, pool.correlation, pool.signal_to_noise, effect)
    kept = effect[:, 4][effect[:, 4].isfinite()]
    assert float(known.score("effect_variance")[4]) == pytest.approx(float(kept.var()))
    assert torch.allclose(known.score("effect_variance")[:4], effect[:, :4].var(0))


# -- galaxies --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def observed():
    engine = acie.load()
    survey = SurveyConfig(redshift=(0.05, 0.2), snr=(8.0, 8.1))
    drawn = Simulator(engine.scm, engine.physics, survey=survey).draw(3, seeded(1))
    return engine, drawn.observation, engine.abduct(drawn.observation, 64)


def test_effect_variance_is_that_of_the_engine(observed):
    engine, observation, abduction = observed
    do = ["stellar_mass*=1.5"]
    builder = PoolBuilder(engine, do, "sfr")
    builder.add(observation, abduction, ["a", "b", "c"])
    scores = builder.build(seeded()).score("effect_variance")
    result = engine.predict(observation, abduction, engine.act(do))
    want = result.effect("sfr").double().var(0)
    possible = (result.flags & int(acie.QualityFlag.PARTIAL)) == 0
    assert bool(possible.any())
    assert torch.allclose(scores[possible], want[possible], rtol=1e-6)


def test_galaxies_one_by_one_or_together_are_the_same_pool(observed):
    engine, observation, abduction = observed
    together, single = PoolBuilder(engine), PoolBuilder(engine)
    together.add(observation, abduction, ["a", "b", "c"])
    for i, name in enumerate("abc"):
        index = torch.arange(64)[:, None]
        values = {n: v.expand(64, 3)[:, i : i + 1] for n, v in abduction.posterior.values.items()}
        posterior = acie.results.PosteriorSamples(
            values, abduction.posterior.spectra[:, i : i + 1], *[torch.zeros(1)] * 3
        )
        part = acie.results.Abduction(posterior, {}, abduction.flux[i : i + 1])
        single.add(observation[i : i + 1], part.take(index), [name])
    pools = [builder.build(seeded()) for builder in (together, single)]
    for by in pools[0].acquisitions:
        assert torch.allclose(pools[0].score(by), pools[1].score(by))
        assert bool((pools[0].score(by) > 0).all())
    assert bool((pools[0].score("posterior_variance") < 1.0).all())


def test_questions_that_cannot_be_asked(observed):
    engine = observed[0]
    with pytest.raises(UnknownVariable, match="dn4000"):
        PoolBuilder(engine, ["stellar_mass*=1.5"], "nonsense")
    with pytest.raises(CausalError, match="mess"):
        PoolBuilder(engine, ["mess*=1.5"], "dn4000")
    with pytest.raises(ConfigurationError, match="an outcome"):
        PoolBuilder(engine, ["stellar_mass*=1.5"])
    with pytest.raises(ConfigurationError, match="none"):
        PoolBuilder(engine).build(seeded())


@pytest.mark.parametrize("count", [0, 10])
def test_more_than_the_pool_is_refused(pool, count):
    with pytest.raises(ConfigurationError, match="from 1 to 9"):
        UncertaintySelector().select(pool, count)


def test_unknown_names_and_empty_pools_are_refused(pool):
    with pytest.raises(ConfigurationError, match="information_gain"):
        UncertaintySelector("entropy").select(pool, 1)
    with pytest.raises(ConfigurationError, match="an action"):
        UncertaintySelector("effect_variance").select(pool, 1)
    with pytest.raises(ConfigurationError, match="k_centre"):
        UncertaintySelector(batch="best")
    empty = GalaxyPool((), torch.empty(4, 0, 2), torch.eye(2), torch.empty(0))
    with pytest.raises(ConfigurationError, match="at least one"):
        UncertaintySelector().select(empty, 1)
    with pytest.raises(ConfigurationError, match="above 1"):
        gaussian_pool([0.5], torch.zeros(1, 2), exposure=1.0)
    broken = gaussian_pool([math.nan], torch.zeros(1, 2))
    with pytest.raises(ACIEError, match="candidate 0"):
        UncertaintySelector().select(broken, 1)


# -- the learner -----------------------------------------------------------------------------


def wave(x):
    return torch.sin(2.0 * x[:, 0]) + 0.5 * x[:, 1]


@pytest.fixture(scope="module")
def fitted():
    x = torch.randn(30, 2, generator=seeded(), dtype=torch.float64)
    model = GaussianProcess()
    model.fit(x, wave(x))
    return model, x


def test_the_regression_passes_through_its_labels_and_is_unsure_elsewhere(fitted):
    model, x = fitted
    mean, variance = model.predict(x)
    assert torch.allclose(mean, wave(x), atol=0.05)
    far, prior = model.predict(torch.full((1, 2), 50.0, dtype=torch.float64))
    assert variance.max() < 0.01 * prior
    other = torch.randn(5, 2, generator=seeded(1), dtype=torch.float64)
    diagonal = model.covariance(other, other).diagonal()
    assert torch.allclose(diagonal, model.predict(other)[1], atol=1e-8 * float(prior))


def test_a_batch_of_the_regression_is_its_greedy_joint_entropy(fitted):
    model, _ = fitted
    x = 2.0 * torch.randn(15, 2, generator=seeded(4), dtype=torch.float64)
    pool = RegressionPool(model, x, x)
    found = UncertaintySelector("posterior_variance").select(pool, 4).index.tolist()
    joint = model.covariance(x, x) + model.noise * torch.eye(15, dtype=torch.float64)
    chosen: list[int] = []
    for _ in range(4):
        rest = [i for i in range(15) if i not in chosen]
        chosen.append(max(rest, key=lambda i: joint[[*chosen, i]][:, [*chosen, i]].logdet()))
    assert found == chosen


def test_the_expected_fall_of_the_variance_is_what_happens(fitted):
    model, x = fitted
    targets, new = (
        torch.randn(n, 2, generator=seeded(6 + n), dtype=torch.float64) for n in (7, 3)
    )
    scores = RegressionPool(model, new, targets).score("variance_reduction")
    before = model.predict(targets)[1]
    for i in range(len(new)):
        # The same hyperparameters and one more label, whatever its value.
        more = copy.copy(model)
        more._x = torch.cat([x, new[i : i + 1]])
        more._factor = more._cholesky(more._log)
        more._weights = torch.zeros(len(more._x), dtype=torch.float64)
        fall = (before - more.predict(targets)[1]).mean()
        assert float(scores[i]) == pytest.approx(float(fall), rel=1e-6)


def test_information_about_targets_prefers_their_neighbours(fitted):
    model, _ = fitted
    targets = torch.tensor([[3.0, 3.0]], dtype=torch.float64)
    x = torch.cat([targets, -2.0 * targets])
    pool = RegressionPool(model, x, targets)
    assert int(UncertaintySelector("information_gain").select(pool, 1).index) == 0
    assert int(UncertaintySelector("posterior_variance").select(pool, 1).index) == 1


def test_the_loop_spends_its_budget_without_repeats_and_learns():
    x = torch.randn(80, 2, generator=seeded(), dtype=torch.float64)
    asked, errors = [], []

    def label(index):
        asked.extend(index.tolist())
        return wave(x[index])

    learner = ActiveLearner(x, label, UncertaintySelector("information_gain"))
    sizes = []
    for state in learner.run(26, 8, seeded(1), first=6):
        sizes.append(state.labelled)
        errors.append(float((learner.model.predict(x)[0] - wave(x)).square().mean()))
    assert sizes == [6, 14, 22, 26]
    assert len(asked) == len(set(asked)) == 26
    assert errors[-1] < 0.1 * errors[0]


def test_the_loop_refuses_what_it_cannot_do():
    x = torch.zeros(4, 1, dtype=torch.float64)
    with pytest.raises(ConfigurationError, match="budget"):
        next(ActiveLearner(x, wave).run(5, 2, seeded()))
    with pytest.raises(NotFitted):
        GaussianProcess().predict(x)
    with pytest.raises(ConfigurationError, match="finite"):
        GaussianProcess().fit(x, torch.full((4,), torch.nan, dtype=torch.float64))
