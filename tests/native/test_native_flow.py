"""Draws of flows by compiled kernels against those by torch."""

import math

import pytest
import torch

import acie
from acie import native
from acie.inference import PosteriorFlow, compiled
from acie.refinement.proposal import AmortisedProposal
from acie.replay import Replay

pytestmark = pytest.mark.skipif(not native.available(), reason="kernels were not compiled")

#: Sizes of flows: several layers, hidden layers of one width, an odd one and many.
SIZES = [
    (2, {"hidden": (64, 64), "transforms": 1}),
    (3, {"hidden": (33,)}),
    (4, {"hidden": (20, 7, 12)}),
    (9, {"hidden": (40, 24)}),
]


@pytest.fixture(scope="module")
def estimator():
    return acie.load("galaxy-v1").bundle.estimator


@pytest.fixture
def by_torch():
    """Calls a function without kernels."""

    def call(function, *arguments):
        with native.kernels_off():
            return function(*arguments)

    return call


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def contexts(flow, count):
    return flow.context_mean + flow.context_std * normal(count, flow.config["context"], seed=1)


def random_flow(dim, options):
    flow = PosteriorFlow(dim, 5, width=16, blocks=1, embedding=9, **options)
    flow.fit_scaling(normal(50, dim) * torch.arange(1.0, dim + 1) + 3.0, normal(50, 5))
    with torch.no_grad():
        for index, parameter in enumerate(flow.parameters()):
            parameter.add_(0.2 * normal(*parameter.shape, seed=index))
    return flow.eval()


def assert_same_draws(law, found, expected, most=2e-4):
    """To the rounding of either: draws in units of their own scatter, and log determinants."""
    assert [part.shape for part in found] == [part.shape for part in expected]
    place = law.placement
    white = ((found[0] - expected[0]) / place.scale)[..., None, :] @ place.tri.mT
    assert_small(white, most)
    assert_small(found[1] - expected[1], most)


def assert_small(difference, most):
    if difference.numel():
        assert float(difference.abs().max()) < most
        assert float(difference.abs().mean()) < most / 10


@torch.no_grad()
@pytest.mark.parametrize("shape", [(320, 3), (37, 2), (5, 16), (1, 19), (16, 1), (0, 3), (4, 0)])
def test_spectral_draws_are_those_of_torch(estimator, by_torch, shape):
    flow = estimator.spectral
    law, noise = flow(contexts(flow, shape[1])), normal(*shape, flow.dim)
    assert_same_draws(law, law.whitened()(noise), by_torch(law.whitened(), noise))


@torch.no_grad()
@pytest.mark.parametrize("shape", [(40, 3), (1, 7), (0, 2)])
def test_latent_draws_are_those_of_torch(estimator, by_torch, shape):
    x = estimator.spectral.x_mean + estimator.spectral.x_std * normal(*shape, 9)
    given = normal(*shape, 2, seed=1), x, torch.linspace(0.01, 0.3, shape[1])
    found, expected = estimator.latent_of(*given), by_torch(estimator.latent_of, *given)
    assert_small((found[0] - expected[0]) / estimator.latent.x_std, 1e-4)
    assert_small(found[1] - expected[1], 1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("dim", "options"), SIZES)
def test_flows_of_any_size(by_torch, dim, options):
    flow = random_flow(dim, options)
    # So far away that the precision reaches its limits.
    given = contexts(flow, 21) * torch.linspace(0.5, 30.0, 21)[:, None]
    law, noise = flow(given), normal(19, 21, dim)
    assert_same_draws(law, law.whitened()(noise), by_torch(law.whitened(), noise))
    found, expected = flow.draw(noise[0], given), by_torch(flow.draw, noise[0], given)
    assert_same_draws(law, found, expected)


@torch.no_grad()
@pytest.mark.parametrize(("dim", "options"), SIZES)
@pytest.mark.parametrize("shape", [(19, 3), (2, 18)])
def test_nothing_else_is_written(monkeypatch, dim, options, shape):
    flow, mark, buffers = random_flow(dim, options), -123.25, []

    class Torch:
        """Hands out memory with marks around it."""

        def __getattr__(self, name):
            return getattr(torch, name)

        def empty(self, *size):
            count = math.prod(torch.Size(size if isinstance(size[0], int) else size[0]))
            buffers.append(torch.full((count + 64,), mark))
            return buffers[-1][32:-32].view(*size)

    law, noise = flow(contexts(flow, shape[1])), normal(*shape, dim)
    monkeypatch.setattr(compiled, "torch", Torch())
    x, log_det = law.whitened()(noise)
    flow.draw(noise[0], contexts(flow, shape[1]))
    assert len(buffers) == 8
    for buffer in buffers:
        assert bool((buffer[:32] == mark).all() & (buffer[-32:] == mark).all())
    assert bool((x != mark).all() & (log_det != mark).all())


@torch.no_grad()
def test_beyond_the_splines_and_not_a_number(estimator, by_torch):
    flow = estimator.spectral
    law, noise = flow(contexts(flow, 2)), normal(50, 2, flow.dim)
    noise[:20] *= 4.0
    noise[3, 1, 4], noise[30, 0, 0] = math.nan, math.inf
    found, expected = law.whitened()(noise), by_torch(law.whitened(), noise)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.isfinite(), theirs.isfinite())
        assert torch.equal(ours.isnan(), theirs.isnan())
    good = expected[0].isfinite().all(-1) & expected[1].isfinite()
    assert int(good.sum()) == 98
    for pair in (found, expected):
        pair[0][~good], pair[1][~good] = 0.0, 0.0
    # Where a knot is in a narrow bin, both are this far from double precision.
    assert_same_draws(law, found, expected, most=4e-3)


def test_gradients_flow_where_they_are_asked_for(estimator):
    flow = estimator.spectral
    features = contexts(flow, 2).requires_grad_()
    noise = normal(3, 2, flow.dim)
    with torch.enable_grad():
        x, log_det = flow(features).whitened()(noise)
        (x.sum() + log_det.sum()).backward()
    assert float(features.grad.abs().max()) > 0
    with torch.no_grad():
        torch.testing.assert_close(flow(features).whitened()(noise)[0], x, rtol=0, atol=1e-3)


@torch.no_grad()
def test_torch_draws_where_the_kernel_cannot(monkeypatch):
    def never(*arguments):
        raise AssertionError("the kernel was called")

    monkeypatch.setattr(compiled.CompiledCouplings, "__call__", never)
    noise = normal(5, 2, 3)
    flow = random_flow(3, {"bins": 5, "hidden": (16,)})
    assert flow(contexts(flow, 2)).whitened()(noise)[0].shape == noise.shape
    flow = random_flow(3, {"hidden": (16,)}).double()
    assert flow.draw(noise[0].double(), contexts(flow, 2).double())[0].dtype == torch.float64
    flow = random_flow(3, {"hidden": (16,)})
    law = flow(contexts(flow, 2)).whitened()
    with pytest.raises(AssertionError, match="was called"):
        law(noise)
    # Of what is being recorded, every operation must be torch's.
    monkeypatch.setattr(torch.jit, "is_tracing", lambda: True)
    assert law(noise)[0].shape == noise.shape


@torch.no_grad()
def test_changed_weights_count(by_torch):
    flow = random_flow(3, {"hidden": (16,)})
    noise, given = normal(20, 3), contexts(flow, 20)
    before = flow.draw(noise, given)[0]
    for parameter in flow.parameters():
        parameter.mul_(1.1)
    after, expected = flow.draw(noise, given)[0], by_torch(flow.draw, noise, given)[0]
    assert float((after - before).abs().max()) > 1e-2
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_draws_of_a_proposal_are_not_recorded(estimator):
    flow, replay = estimator.spectral, Replay(patience=2)
    for _ in range(4):
        proposal = AmortisedProposal(flow, contexts(flow, 2), replay=replay)
        proposal.variables(normal(6, 2, flow.dim))
    assert replay.recorded() == ["law"]
