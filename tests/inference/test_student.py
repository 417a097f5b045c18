"""The Student mixture against scipy and against its own draws."""

import torch
from scipy.stats import multivariate_t

from acie.inference.student import StudentMixture, fit_student_mixture


def mixture(left=-2.0):
    root = torch.tensor([[[1.0, 0.0], [0.5, 0.8]], [[0.4, 0.0], [-0.1, 0.3]]]).double()
    mean = torch.tensor([[left, 0.0], [2.0, 1.0]]).double()
    fraction = torch.tensor([0.25, 0.75]).double().log()
    return StudentMixture(fraction[None], mean[None], root[None], 7)


def test_density_matches_scipy():
    law = mixture()
    x = torch.randn(20, 1, 2, generator=torch.Generator().manual_seed(0)).double() * 2
    expected = 0
    for share, mean, root in zip((0.25, 0.75), law.mean[0], law.root[0], strict=True):
        part = multivariate_t(mean.numpy(), (root @ root.T).numpy(), df=7)
        expected = expected + share * torch.from_numpy(part.pdf(x[:, 0].numpy()))
    torch.testing.assert_close(law.log_prob(x)[:, 0], expected.log(), rtol=1e-10, atol=1e-10)


def test_draws_follow_the_density():
    # Far enough apart that no draw is on the wrong side.
    x = mixture(left=-60.0).sample(40_000, torch.Generator().manual_seed(1))
    left = x[:, 0, 0] < -30
    # Moments of a Student law: covariance dof / (dof - 2) times the scale matrix.
    right = x[~left, 0]
    assert abs(float(left.double().mean()) - 0.25) < 0.02
    torch.testing.assert_close(right.mean(0), torch.tensor([2.0, 1.0]).double(), rtol=0, atol=0.05)
    torch.testing.assert_close(
        right.std(0), (torch.tensor([0.16, 0.10]).double() * 7 / 5).sqrt(), rtol=0.06, atol=0
    )


def test_fit_survives_degenerate_weights():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(64, 3, 5, generator=generator)
    log_weights = torch.full((64, 3), -torch.inf)
    log_weights[0, 0] = 0.0  # a single draw; the second galaxy has none, the third two
    log_weights[:2, 2] = 0.0
    reference = torch.eye(5).expand(3, 5, 5)
    for components in (1, 3):
        law = fit_student_mixture(x, log_weights, reference, components=components)
        assert bool(law.log_prob(law.sample(50, generator)).isfinite().all())


def test_a_joined_component_gets_half_of_the_draws():
    generator = torch.Generator().manual_seed(4)
    mixture = fit_student_mixture(
        torch.randn(400, 2, 3, generator=generator),
        torch.zeros(400, 2),
        torch.eye(3).expand(2, 3, 3).double(),
        components=2,
    )
    far = torch.full((2, 3), 50.0, dtype=torch.float64)
    joined = mixture.joined(far, torch.eye(3).expand(2, 3, 3).double())
    draws = joined.sample(1000, generator)
    assert int((draws[..., 0] > 25.0).sum()) == 1000
    # Far from the new component the density is half of the old one.
    near = torch.randn(50, 2, 3, generator=generator).double()
    torch.testing.assert_close(
        joined.log_prob(near), mixture.log_prob(near) - torch.log(torch.tensor(2.0)).double(),
        rtol=0, atol=1e-4,
    )  # fmt: skip
