"""The two-factor estimator: a linear Gaussian model with a closed-form posterior."""

import json

import pytest
import torch
from torch.distributions import MultivariateNormal

from acie.errors import ConfigurationError, NotFitted
from acie.inference import (
    AmortisedPosterior,
    NeuralPosteriorEstimator,
    interval_coverage,
    rank_statistics,
    uniformity_p_value,
)

SMALL = {"width": 48, "blocks": 1, "embedding": 24, "transforms": 1, "hidden": (32, 32)}
NOISE = 0.4


class LinearModel:
    """root r ~ N(0, 1); x_s ~ N(0.5 r, 1); x_l ~ N(x_s[0] + x_s[1] + r, 0.5^2); y = H x_s + e."""

    def __init__(self):
        generator = torch.Generator().manual_seed(5)
        self.design = torch.randn(6, 3, generator=generator)

    def simulate(self, n, generator):
        root = torch.randn(n, generator=generator)
        x_s = 0.5 * root[:, None] + torch.randn(n, 3, generator=generator)
        x_l = x_s[:, :2].sum(-1) + root + 0.5 * torch.randn(n, generator=generator)
        y = x_s @ self.design.T + NOISE * torch.randn(n, 6, generator=generator)
        return torch.cat([y, root[:, None]], dim=-1), x_s, x_l[:, None], root

    def log_target(self, features, root):
        def log_density(x):
            x_s, x_l = x[..., :3], x[..., 3]
            prior = -0.5 * (x_s - 0.5 * root[:, None]).square().sum(-1)
            latent = -0.5 * ((x_l - x_s[..., :2].sum(-1) - root) / 0.5).square()
            residual = features[:, :6] - x_s @ self.design.T
            return prior + latent - 0.5 * (residual / NOISE).square().sum(-1)

        return log_density

    def posterior(self, features, root):
        precision = torch.eye(3) + self.design.T @ self.design / NOISE**2
        cov = torch.linalg.inv(precision)
        mean = (features[:, :6] @ self.design / NOISE**2 + 0.5 * root[:, None]) @ cov
        lift = torch.cat([torch.eye(3), torch.tensor([[1.0, 1.0, 0.0]])])
        full = lift @ cov @ lift.T
        full[3, 3] += 0.25
        offset = torch.nn.functional.pad(root[:, None], (3, 0))
        return MultivariateNormal(mean @ lift.T + offset, full.expand(len(root), 4, 4))


@pytest.fixture(scope="module")
def model():
    return LinearModel()


@pytest.fixture(scope="module")
def trained(model):
    generator = torch.Generator().manual_seed(1)
    estimator = NeuralPosteriorEstimator(7, 3, 1, 1, spectral=SMALL, latent=SMALL)
    estimator.fit_scaling(*model.simulate(5000, generator))
    steps = 300
    optimiser = torch.optim.AdamW(estimator.parameters(), lr=8e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        estimator.loss(*model.simulate(128, generator)).backward()
        torch.nn.utils.clip_grad_norm_(estimator.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    return estimator.eval()


@pytest.mark.slow
def test_learns_the_analytic_posterior(model, trained):
    features, x_s, x_l, root = model.simulate(4000, torch.Generator().manual_seed(2))
    exact = model.posterior(features, root).log_prob(torch.cat([x_s, x_l], dim=-1))
    with torch.no_grad():
        gap = exact - trained.log_prob(features, x_s, x_l, root)
    # The mean gap is the Kullback-Leibler divergence, known to 0.006 from 4000 draws; less than
    # 0.1 nat is asked after seconds of training, and it cannot be negative.
    assert -0.03 < float(gap.mean()) < 0.1


def test_coverage_after_training(model, trained):
    generator = torch.Generator().manual_seed(3)
    features, x_s, x_l, root = model.simulate(400, generator)
    truth = torch.cat([x_s, x_l], dim=-1)
    samples, _ = AmortisedPosterior(trained, features, root).sample_and_log_prob(200, generator)
    # sqrt(0.68 * 0.32 / 400) = 0.023; 4 sigma and 0.03 for the short training.
    coverage = interval_coverage(samples, truth)
    assert bool(((coverage - 0.68).abs() < 0.125).all())
    assert bool((uniformity_p_value(rank_statistics(samples, truth)) > 1e-5).all())


def test_refinement_recovers_the_analytic_moments(model, trained):
    generator = torch.Generator().manual_seed(4)
    features, _, _, root = model.simulate(20, generator)
    posterior = AmortisedPosterior(trained, features, root)
    result = posterior.refine(model.log_target(features, root), 2000, generator)
    exact = model.posterior(features, root)
    assert float(result.efficiency.min()) > 0.3
    assert float(result.amortised_efficiency.median()) > 0.3
    white = torch.linalg.solve_triangular(
        exact.scale_tril, (result.samples - exact.loc).unsqueeze(-1), upper=False
    ).squeeze(-1)
    # Effective sizes are above 250 (median amortised efficiency 0.3 of 1024 draws is the floor):
    # 4 sigma of a mean is 0.25, of a log variance 4 sqrt(2 / 250) = 0.36.
    assert float(white.mean(0).abs().max()) < 0.25
    assert float(white.var(0).log().abs().max()) < 0.36
    # The evidence of a linear Gaussian model, from target minus posterior at any point.
    point = exact.loc.unsqueeze(0)
    log_evidence = (model.log_target(features, root)(point) - exact.log_prob(point))[0]
    torch.testing.assert_close(result.log_evidence.float(), log_evidence, rtol=0, atol=0.25)


def test_sampling_is_deterministic_and_consistent(model, trained):
    features, _, _, root = model.simulate(5, torch.Generator().manual_seed(6))

    def draw():
        return trained.sample(11, features, root, torch.Generator().manual_seed(7))

    with torch.no_grad():
        x_s, x_l, log_q = draw()
        assert (x_s.shape, x_l.shape, log_q.shape) == ((11, 5, 3), (11, 5, 1), (11, 5))
        assert all(torch.equal(a, b) for a, b in zip((x_s, x_l, log_q), draw(), strict=True))
        again = trained.log_prob(features, x_s, x_l, root)
    torch.testing.assert_close(again, log_q, rtol=0, atol=5e-3)


def test_batch_and_single_agree(model, trained):
    features, x_s, x_l, root = model.simulate(5, torch.Generator().manual_seed(6))
    with torch.no_grad():
        together = trained.log_prob(features, x_s, x_l, root)
        alone = [trained.log_prob(features[[i]], x_s[[i]], x_l[[i]], root[[i]]) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-4)


def test_rebuilds_from_config_and_tensors(model, trained):
    batch = model.simulate(5, torch.Generator().manual_seed(6))
    config = json.loads(json.dumps(trained.config))
    other = NeuralPosteriorEstimator.from_state(config, trained.state_dict())
    assert torch.equal(other.loss(*batch), trained.loss(*batch))


def test_works_without_latent_variables(model):
    features, x_s, _, root = model.simulate(50, torch.Generator().manual_seed(8))
    empty = x_s.new_empty(50, 0)
    estimator = NeuralPosteriorEstimator(7, 3, spectral=SMALL)
    estimator.fit_scaling(features, x_s, empty, root)
    drawn = estimator.sample(4, features, root, torch.Generator().manual_seed(0))
    assert drawn[1].shape == (4, 50, 0)
    assert bool(estimator.loss(features, x_s, empty, root).isfinite())


def test_misuse_is_refused(model, trained):
    features, x_s, x_l, root = model.simulate(5, torch.Generator().manual_seed(6))
    with pytest.raises(NotFitted):
        NeuralPosteriorEstimator(7, 3, 1).loss(features, x_s, x_l, root)
    with pytest.raises(ConfigurationError):
        trained.loss(features, x_s, x_l, root[:3])
