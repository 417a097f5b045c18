"""Tests of independence keep their level, and the data refute wrong graphs."""

import itertools
import math

import pytest
import torch

from acie.errors import DataError
from acie.scm import CausalGraph
from acie.scm.falsification import falsify
from acie.scm.independence import gcm_p_values, partial_correlation_p_values
from acie.scm.mixed_graph import MixedGraph
from acie.scm.smoothing import smooth_residuals

RIGHT = CausalGraph({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"]})
WRONG = CausalGraph({"a": [], "b": ["a"], "c": ["b"], "d": ["c"], "e": ["d"]})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def nonlinear(seed, rows=400):
    generator = seeded(seed)

    def noise(scale):
        return scale * torch.randn(rows, generator=generator, dtype=torch.float64)

    a = noise(1.0)
    b, c = torch.tanh(2.0 * a) + noise(0.5), a**2 + noise(0.7)
    d = b * c + noise(0.5)
    return {"a": a, "b": b, "c": c, "d": d, "e": torch.sin(d) + noise(0.3)}


def within(count, trials, rate, sigmas=4.0):
    """Whether a count of a binomial law lies within some standard deviations of its mean."""
    spread = math.sqrt(trials * rate * (1.0 - rate))
    return abs(count - trials * rate) <= sigmas * spread


def independent_p_values(test, runs=300, rows=300):
    """P values where x and y depend on z in a curved way, and on nothing else."""
    found = []
    for seed in range(runs):
        generator = seeded(seed)
        z = torch.randn(rows, 1, generator=generator, dtype=torch.float64)
        x = torch.sin(2.0 * z) + torch.randn(rows, 1, generator=generator, dtype=torch.float64)
        y = z**2 * (1.0 + torch.randn(rows, 1, generator=generator, dtype=torch.float64))
        found.append(test(x, y, z, generator))
    return torch.cat(found)


def test_the_covariance_measure_keeps_its_level_under_curved_dependence():
    def gcm(x, y, z, generator):
        return gcm_p_values(smooth_residuals(torch.cat([x, y], 1), z, generator), 0, [1])

    p = independent_p_values(gcm)
    # Binomial(300, 0.05): mean 15, standard deviation 3.8. Kolmogorov-Smirnov at 0.1 %: 1.95
    # over the root of n.
    assert within(int((p < 0.05).sum()), 300, 0.05)
    grid = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    assert float((p.sort().values - grid).abs().max()) < 1.95 / math.sqrt(300)


def test_the_covariance_measure_finds_dependence_that_is_left():
    generator = seeded(7)
    z = torch.randn(400, 1, generator=generator, dtype=torch.float64)
    x = torch.sin(2.0 * z) + torch.randn(400, 1, generator=generator, dtype=torch.float64)
    y = z**2 + 0.5 * x + torch.randn(400, 1, generator=generator, dtype=torch.float64)
    residuals = smooth_residuals(torch.cat([x, y], 1), z, generator)
    assert float(gcm_p_values(residuals, 0, [1])) < 1e-6


def test_partial_correlation_keeps_its_level_on_linear_data():
    p = []
    for seed in range(300):
        generator = seeded(seed)
        z = torch.randn(100, 2, generator=generator, dtype=torch.float64)
        noise = torch.randn(100, 3, generator=generator, dtype=torch.float64)
        x, others = z.sum(1) + noise[:, 0], z @ torch.ones(2, 2).double() + noise[:, 1:]
        p.append(partial_correlation_p_values(x, others, z))
    assert within(int((torch.stack(p)[:, 0] < 0.05).sum()), 300, 0.05)
    assert partial_correlation_p_values(x, x[:, None] + 0.1, z).item() < 1e-10


def test_smooth_residuals_remove_the_curve():
    generator = seeded(1)
    z = torch.rand(1000, 2, generator=generator, dtype=torch.float64)
    curve = torch.sin(6.0 * z[:, 0]) * z[:, 1]
    noise = 0.1 * torch.randn(1000, generator=generator, dtype=torch.float64)
    left = smooth_residuals((curve + noise)[:, None], z, generator).values[:, 0]
    # What the regression misses is small beside the noise: 1/n^(1/4) of it is 0.018.
    assert float((left - (noise - noise.mean())).square().mean().sqrt()) < 0.1 / 1000**0.25 * 2


def scores(residuals):
    """Squared test statistics of every pair of columns, without and with the correction."""
    r = residuals.values
    sums, squares = r.T @ r, r.square().T @ r.square()
    pair = torch.triu_indices(r.shape[1], r.shape[1], 1)
    plain = (sums.square() / squares)[pair[0], pair[1]]
    return plain, plain / residuals.inflation[pair[0], pair[1]]


def test_the_degrees_of_freedom_of_the_regressions_are_paid_for():
    # 120 columns that wiggle with two conditions, each along a direction of its own.
    generator = seeded(2)
    z = torch.randn(150, 2, generator=generator, dtype=torch.float64)
    curve = torch.sin(2.0 * z @ torch.randn(2, 120, generator=generator, dtype=torch.float64))
    noise = torch.randn(150, 120, generator=generator, dtype=torch.float64)
    plain, corrected = scores(smooth_residuals(curve + 0.5 * noise, z, generator))
    # 7140 squares of a standard normal: the mean deviates by 0.017; four of them.
    assert abs(float(corrected.mean()) - 1.0) < 4.0 * math.sqrt(2.0 / len(corrected))
    assert float(plain.mean()) > 1.0 + 4.0 * math.sqrt(2.0 / len(plain))


def test_the_correction_is_exact_for_equal_noise_without_conditions():
    values = torch.randn(30, 4, generator=seeded(), dtype=torch.float64)
    found = smooth_residuals(values, torch.empty(30, 0, dtype=torch.float64), seeded())
    assert torch.allclose(found.inflation, torch.full((4, 4), 30.0 / 29.0, dtype=torch.float64))


def test_two_steps_at_the_same_place_leave_nothing_in_common():
    # What one fixed width would smear out of both: a steep law and a class that flips.
    runs, total = 20, 0.0
    for seed in range(runs):
        generator = seeded(seed)
        z = torch.randn(1500, 1, generator=generator, dtype=torch.float64)
        chance = torch.rand(1500, 1, generator=generator, dtype=torch.float64)
        kind = (chance < torch.sigmoid(z / 0.05)).double()
        noise = torch.randn(1500, 1, generator=generator, dtype=torch.float64)
        law = torch.tanh(z / 0.1) + 0.2 * noise
        r = smooth_residuals(torch.cat([kind, law], 1), z, generator).values
        product = r[:, 0] * r[:, 1]
        total += float(product.sum() / product.square().sum().sqrt())
    # The mean of standard normals deviates by the root of 1/20; four of them.
    assert abs(total / runs) < 4.0 / math.sqrt(runs)


@pytest.mark.slow
def test_a_right_graph_is_refuted_as_seldom_as_stated_and_a_wrong_one_always():
    runs = 120
    right = sum(falsify(RIGHT, nonlinear(seed), generator=seeded(seed)).rejected
                for seed in range(runs))  # fmt: skip
    # Holm keeps the rate at most 0.05: Binomial(120, 0.05) has mean 6 and deviation 2.4; four.
    assert right <= 6 + 4 * 2.4
    wrong = sum(falsify(WRONG, nonlinear(seed), generator=seeded(seed)).rejected
                for seed in range(20))  # fmt: skip
    assert wrong == 20


def holds(order):
    """Whether every statement of the shuffled graph follows from the right one."""
    new = dict(zip("abcde", order, strict=True))
    graph = CausalGraph({new[n]: [new[p] for p in RIGHT.parents(n)] for n in "abcde"})
    return all(
        RIGHT.d_separated(n, other, graph.parents(n))
        for n in graph.order
        for other in set(graph.order) - graph.descendants(n) - set(graph.parents(n)) - {n}
    )


def test_shuffled_names_are_the_yardstick():
    data = nonlinear(5)
    right = falsify(RIGHT, data, permutations=60, generator=seeded(1))
    wrong = falsify(WRONG, data, permutations=60, generator=seeded(1))
    # A graph whose names are shuffled at random would have p = 1/2 on average.
    assert right.permutation_p < 0.5
    # Orders of the names whose statements all hold cannot be told from the right one.
    share = sum(holds(order) for order in itertools.permutations("abcde")) / 120
    assert right.permutation_p > share - 4 * math.sqrt(share * (1 - share) / 60)
    assert wrong.permutation_p > right.permutation_p
    assert "do not refute" in right.sentence
    assert "refute the graph" in wrong.sentence
    assert math.isnan(falsify(RIGHT, data).permutation_p)


def test_linear_data_and_partial_correlation():
    generator = seeded(3)
    noise = torch.randn(3, 500, generator=generator, dtype=torch.float64)
    a = noise[0]
    b = a + noise[1]
    data = {"a": a, "b": b, "c": b + noise[2]}
    chain = CausalGraph({"a": [], "b": ["a"], "c": ["b"]})
    fork = CausalGraph({"a": [], "b": ["a"], "c": ["a"]})
    assert not falsify(chain, data, method="partial_correlation", level=0.001).rejected
    found = falsify(fork, data, method="partial_correlation")
    assert found.rejected
    assert {(t.variable, t.other) for t in found.refuted} == {("b", "c"), ("c", "b")}


def test_a_complete_graph_says_nothing_and_derived_variables_are_left_out():
    data = nonlinear(0)
    full = CausalGraph({"a": [], "b": ["a"], "c": ["a", "b"]})
    found = falsify(full, {n: data[n] for n in "abc"})
    assert not found.tests
    assert "says nothing" in found.sentence
    derived = {"a": data["a"], "b": data["b"], "s": data["a"] + data["b"]}
    graph = CausalGraph({"a": [], "b": ["a"], "s": ["a", "b"]})
    assert not falsify(graph, derived, ignore=["s"]).tests


def test_a_hidden_common_cause_is_projected_away():
    # a -> b, d -> c, h -> b, h -> c with h hidden: b <-> c, and a, d are independent of the rest.
    def columns(seed, rows=400):
        generator = seeded(seed)
        a, d, h, u, v = torch.randn(5, rows, generator=generator, dtype=torch.float64)
        return {"a": a, "d": d, "b": a + h + 0.5 * u, "c": d + h**2 + h + 0.5 * v}

    full = CausalGraph({"a": [], "d": [], "h": [], "b": ["a", "h"], "c": ["d", "h"]})
    graph = MixedGraph.project(full, ["h"])
    statements = {(t.variable, t.other, t.given) for t in falsify(graph, columns(0)).tests}
    assert ("d", "a", ()) in statements
    assert ("b", "d", ("a",)) in statements
    # The district of c is {b, c}: nothing is left to say of it.
    assert all(variable != "c" for variable, _, _ in statements)
    runs = 100
    right = sum(falsify(graph, columns(s), generator=seeded(s)).rejected for s in range(runs))
    # Binomial(100, 0.05): mean 5, deviation 2.2; four of them.
    assert right <= 5 + 4 * 2.2
    # Without the hidden cause, b and c would be independent given a and d.
    naive = CausalGraph({"a": [], "d": [], "b": ["a"], "c": ["d"]})
    assert all(falsify(naive, columns(s), generator=seeded(s)).rejected for s in range(10))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d.pop("c"), "none for c"),
        (lambda d: d.update(c=torch.zeros(400)), "c constant"),
        (lambda d: d.update(c=torch.full((400,), math.nan)), "missing"),
    ],
)
def test_bad_data_are_refused(change, word):
    data = nonlinear(0)
    change(data)
    with pytest.raises(DataError, match=word):
        falsify(RIGHT, data)


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="rows"):
        falsify(RIGHT, {name: column[:8] for name, column in nonlinear(0).items()})
