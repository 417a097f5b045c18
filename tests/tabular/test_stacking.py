"""Kernel machine and networks in one location, and the test whether a spline is worth its time."""

import math

import pytest
import torch

from acie.scm import MixedLocation
from acie.tabular.additive_fit import _share, fit_additive, fit_additive_kernel
from acie.tabular.ensemble_fit import FOLDS, fit_ensemble, folds
from acie.tabular.network_fit import Rows
from acie.tabular.screening import noise_depends
from acie.variables import Variable

CAUSE, EFFECT = Variable("x"), Variable("y", parents=("x",))


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_row_is_left_out_once():
    fold = folds(23)
    assert fold.unique().tolist() == list(range(FOLDS))
    assert fold.bincount().max() - fold.bincount().min() <= 1


def test_predictions_of_rows_left_out_know_nothing_of_their_noise():
    # The values are pure noise. A prediction that had seen them would correlate with them; one
    # that has not is an independent variable, whose correlation scatters by 1 / sqrt(n).
    rows = Rows(normal(1000, seed=2), {"x": normal(1000, seed=1)})
    location, apart = fit_ensemble((CAUSE,), rows, rows.value, generator(), 200)
    _, smooth_apart = fit_additive_kernel(EFFECT, (CAUSE,), rows, generator())
    for predicted in (apart, smooth_apart):
        both = torch.stack([predicted, rows.value])
        assert float(torch.corrcoef(both)[0, 1]) < 4 / math.sqrt(1000)
    assert location.members == FOLDS
    each = location.each(location.features(rows.causes, rows.value))
    torch.testing.assert_close(location(rows.causes, rows.value), each.mean(0))


def test_the_share_goes_to_the_better_one():
    truth, noise = normal(20_000, seed=3), normal(20_000, seed=4)
    wrong = truth + 0.3 * normal(20_000, seed=5)
    # The estimate scatters by the noise over the root of the summed squares of the difference;
    # what the clamp cuts off only helps.
    scatter = 1.0 / (0.3 * math.sqrt(20_000))
    assert _share(truth + noise, truth, wrong) < 5 * scatter
    assert _share(truth + noise, wrong, truth) > 1 - 5 * scatter
    # Two equally wrong and independent ones are averaged; the difference is sqrt(2) larger.
    other = truth + 0.3 * normal(20_000, seed=6)
    assert abs(_share(truth + noise, wrong, other) - 0.5) < 5 * 1.1 * scatter / math.sqrt(2)
    assert _share(truth + noise, truth, truth) == 0.0


@pytest.mark.slow
def test_a_step_in_a_smooth_function_takes_networks():
    # A kernel of one length cannot be smooth and steep; the mixture must be better than it is,
    # against the truth, and the held-out rows must have said so.
    x = 3.0 * normal(4000, seed=7)
    truth = 5.0 * torch.tanh(20.0 * (x - 0.5))
    rows = Rows(truth + 0.5 * normal(4000, seed=8), {"x": x})
    part = torch.arange(4000)
    seen, checked = rows.take(part[:3000]), rows.take(part[3000:])
    mixed = fit_additive(EFFECT, (CAUSE,), seen, checked, generator(), 1000)
    smooth, _ = fit_additive_kernel(EFFECT, (CAUSE,), seen, generator())
    assert isinstance(mixed.location, MixedLocation)
    errors = []
    for mechanism in (mixed, smooth):
        location = mechanism.output_mean + mechanism.output_std * mechanism.location(
            rows.causes, rows.value
        )
        errors.append(float((location - truth)[3000:].square().mean()))
    assert errors[0] < errors[1]


def test_a_dependence_is_rarely_found_where_there_is_none():
    found = 0
    for seed in range(200):
        draws = normal(400, 3, seed=100 + seed)
        codes = (draws[:, 2:] > 0.5).double()
        found += noise_depends(draws[:, 0], torch.cat([draws[:, 1:2], codes], 1))
    # At most 1 in 100; 200 draws exceed 8 with a probability of 2e-4.
    assert found <= 8


@pytest.mark.parametrize("kind", ["location", "scale", "skewness", "group"])
def test_a_dependence_is_found_where_there_is_one(kind):
    u, x = normal(20_000, seed=9), normal(20_000, seed=10)
    group = (x > 0.5).double()
    noise = {
        "location": u + 0.1 * torch.sin(x),
        "scale": u * torch.exp(0.1 * x),
        "skewness": u + 0.05 * x * (u.square() - 1.0),
        "group": u * (1.0 + 0.15 * group),
    }[kind]
    assert noise_depends(noise, (group if kind == "group" else x)[:, None])


def test_an_outlier_hides_no_dependence():
    u, x = normal(20_000, seed=9), normal(20_000, seed=10)
    noise = u * torch.exp(0.1 * x)
    noise[0] = 1e4
    assert noise_depends(noise, x[:, None])


def test_weights_of_a_mixture():
    rows = Rows(normal(300, seed=11), {"x": normal(300, seed=12)})
    network, _ = fit_ensemble((CAUSE,), rows, rows.value, generator(), 200)
    smooth, _ = fit_additive_kernel(EFFECT, (CAUSE,), rows, generator())
    mixed = MixedLocation(smooth.location, network).double()
    for weight, alone in ((0.0, smooth.location), (1.0, network)):
        mixed.weight.fill_(weight)
        expected = alone(rows.causes, rows.value)
        torch.testing.assert_close(mixed(rows.causes, rows.value), expected)
