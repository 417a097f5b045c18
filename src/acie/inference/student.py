"""Mixtures of multivariate Student laws, one per galaxy, fitted to weighted draws."""

__all__ = ["StudentMixture", "fit_student_mixture"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.native import student as compiled
from acie.native import weights as compiled_weights


@dataclass(frozen=True)
class StudentMixture:
    """A mixture of Student laws for each galaxy.

    Arguments:
        log_fraction: Log mixing fractions, ``(batch, component)``.
        mean: Centres, ``(batch, component, dim)``.
        root: Cholesky factors of the scale matrices, ``(batch, component, dim, dim)``.
        dof: Degrees of freedom, an integer.
    """

    log_fraction: Tensor
    mean: Tensor
    root: Tensor
    dof: int

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of ``x`` ``(sample, batch, dim)``, shape ``(sample, batch)``."""
        x = x.to(self.mean)
        if self._fits(x):
            constant = _log_peak(x.shape[-1], self.dof)
            return compiled.density(
                x, self.log_fraction, self.mean, self.root, self.dof, constant
            )
        terms = student_log_prob(x, self.mean, self.root, self.dof)
        return torch.logsumexp(terms + self.log_fraction, dim=-1)

    def joined(self, mean: Tensor, covariance: Tensor) -> "StudentMixture":
        """The mixture with one more component, which gets half of the draws.

        Arguments:
            mean: Its centres, ``(batch, dim)``.
            covariance: Its scale matrices, ``(batch, dim, dim)``.
        """
        half = math.log(0.5)
        extra = torch.full_like(self.log_fraction[:, :1], half)
        return StudentMixture(
            torch.cat([self.log_fraction + half, extra], 1),
            torch.cat([self.mean, mean.to(self.mean)[:, None]], 1),
            torch.cat([self.root, _cholesky(covariance.to(self.root))[:, None]], 1),
            self.dof,
        )

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws of shape ``(n, batch, dim)``, stratified over the components."""
        batch, _, dim = self.mean.shape

        def draw(kind: str, *shape: int) -> Tensor:
            call = torch.rand if kind == "uniform" else torch.randn
            return call(
                shape, generator=generator, device=generator.device, dtype=self.mean.dtype
            ).to(self.mean.device)

        offset, normal = draw("uniform", batch), draw("normal", n, batch, dim)
        stretching = draw("normal", n, batch, self.dof)
        if n and self._fits(normal):
            return compiled.draws(
                offset, normal, stretching, self.log_fraction, self.mean, self.root
            )
        # A shifted comb gives every component its share of draws to within one.
        comb = (torch.arange(n, device=self.mean.device).unsqueeze(-1) + offset) / n
        edges = self.log_fraction.exp().cumsum(-1)
        component = (comb.unsqueeze(-1) > edges[:, :-1]).sum(-1)
        row = torch.arange(batch, device=self.mean.device).expand_as(component)
        # A chi-squared variable with an integer number of degrees is a sum of squared normals.
        stretch = (self.dof / stretching.square().sum(-1)).sqrt()
        moved = (self.root[row, component] @ normal.unsqueeze(-1)).squeeze(-1)
        return self.mean[row, component] + moved * stretch.unsqueeze(-1)

    def _fits(self, x: Tensor) -> bool:
        """Whether kernels may take the mixture, and draws that it is or was asked for."""
        parts = self.log_fraction, self.mean, self.root
        return compiled.fits(x, *parts, components=self.log_fraction.shape[-1])


def student_log_prob(x: Tensor, mean: Tensor, root: Tensor, dof: int) -> Tensor:
    """Log density of each component, ``(sample, batch, component)``.

    References:
        Kotz & Nadarajah 2004, Multivariate t Distributions, equation 1.1.
    """
    dim = mean.shape[-1]
    if compiled.fits(x, mean, root, components=mean.shape[-2]):
        return compiled.terms(x, mean, root, dof, _log_peak(dim, dof))
    squared = _mahalanobis(x, mean, root)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return _log_peak(dim, dof) - log_det - 0.5 * (dof + dim) * torch.log1p(squared / dof)


def _log_peak(dim: int, dof: int) -> float:
    """Log density of a Student law at its centre, for a unit scale matrix."""
    shape = math.lgamma(0.5 * (dof + dim)) - math.lgamma(0.5 * dof)
    return shape - 0.5 * dim * math.log(dof * math.pi)


def _mahalanobis(x: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """Squared distance of ``(sample, batch, dim)`` to each of ``(batch, component, dim)``."""
    centred = x.unsqueeze(2) - mean
    columns = centred.permute(1, 2, 3, 0)
    white = torch.linalg.solve_triangular(root, columns, upper=False)
    return white.square().sum(2).permute(2, 0, 1)


def temper(log_weights: Tensor, target: float) -> tuple[Tensor, Tensor]:
    """Raise weights to the largest power in (0, 1] that keeps the effective size at ``target``.

    A covariance from a handful of effective draws is singular; flattened weights give a wider
    but usable one, and the next round does not need them flattened as much.

    Returns:
        Normalised weights ``(sample, batch)`` and their effective size ``(batch,)``.
    """
    log_weights = log_weights.double()
    if compiled_weights.fits(log_weights):
        return compiled_weights.temper(log_weights, target)
    finite = torch.where(log_weights.isfinite(), log_weights, -1e300)
    dead = (finite <= -1e300).all(0)
    # Excluded draws stay excluded at every power, and a galaxy without weight counts all alike.
    finite = torch.where(dead, 0.0, finite - finite.amax(0))

    def share(power: Tensor) -> Tensor:
        """One over the effective size, at each of several powers ``(power, batch)``."""
        return torch.softmax(power[:, None] * finite, 1).square().sum(1)

    # The exponent of the power, from -20: that flattens weights that span a million in their
    # logarithm. 256 steps leave the power right to 5 %. As the effective size falls with the
    # power, the number of steps that keep it is searched for; a few at once, because each
    # operation costs more than its numbers.
    low, step = torch.full_like(finite[0], -20.0), 20.0
    for parts in (8, 8, 4):
        step /= parts
        inner = step * torch.arange(1, parts, dtype=low.dtype, device=low.device)
        kept = share((low + inner[:, None]).exp2()) <= 1.0 / target
        low = low + step * kept.sum(0)
    enough = share(torch.ones_like(low)[None])[0] <= 1.0 / target
    weights = torch.softmax(low.exp2().masked_fill(enough, 1.0) * finite, 0)
    return weights, 1.0 / weights.square().sum(0)


def fit_student_mixture(
    x: Tensor,
    log_weights: Tensor,
    reference: Tensor,
    *,
    components: int = 1,
    dof: int = 7,
    target: float = 50.0,
    iterations: int = 8,
) -> StudentMixture:
    """Fit a mixture to weighted draws by expectation maximisation of its moments.

    The components start from a split along the leading principal axis; a galaxy whose effective
    size is below ``2 * components * target`` keeps a single one. Covariances are shrunk towards
    the reference correlations carrying its own variances, the more the fewer effective draws
    support them. The covariance is used as the scale matrix of the Student law, which is thereby
    wider than the moments by ``dof / (dof - 2)``: proposals should err on the wide side.

    References:
        Cappé et al. 2008, Statistics and Computing 18, 447 (mixture updates);
        Ledoit & Wolf 2004, J. Multivariate Analysis 88, 365 (shrinkage).

    Arguments:
        x: Draws, ``(sample, batch, dim)``.
        log_weights: ``(sample, batch)``.
        reference: Covariance to shrink towards, ``(batch, dim, dim)``.
        components: Number of Student laws.
        dof: Degrees of freedom.
        target: Effective size that the tempered weights must have.
        iterations: Rounds of expectation maximisation when there is more than one component.
    """
    x, reference = x.double(), reference.double()
    weights, size = temper(log_weights, min(target, 0.5 * x.shape[0]))
    pooled_mean, pooled = _moments(x, weights.unsqueeze(-1))
    pooled_root = _cholesky(_shrink(pooled, reference, size.unsqueeze(-1), pooled))
    if components == 1:
        return StudentMixture(torch.zeros_like(pooled_mean[..., 0]), pooled_mean, pooled_root, dof)
    share = _split(x, weights, pooled_mean[:, 0], pooled[:, 0], components)
    for _ in range(iterations):
        joint = weights.unsqueeze(-1) * share
        fraction = joint.sum(0)
        # Kish's size of each component's own weights.
        local = fraction.square() / joint.square().sum(0).clamp_min(1e-300)
        mean, cov = _moments(x, joint)
        root = _cholesky(_shrink(cov, reference, local, pooled))
        # The floor keeps an emptied component alive, as a scout with the pooled width.
        fraction = fraction.clamp_min(0.02)
        log_fraction = (fraction / fraction.sum(-1, keepdim=True)).log()
        share = torch.softmax(student_log_prob(x, mean, root, dof) + log_fraction, dim=-1)
    # Too few draws for several components: all of them become the pooled one. Measured on toys
    # in ten dimensions, a premature split costs a third of the efficiency.
    split = (size >= 2 * components * target)[:, None]
    return StudentMixture(
        torch.where(split, log_fraction, -math.log(components)),
        torch.where(split[..., None], mean, pooled_mean),
        torch.where(split[..., None, None], root, pooled_root),
        dof,
    )


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means ``(batch, component, dim)`` and covariances under ``(sample, batch, component)``."""
    if compiled.fits(x, weights):
        return compiled.moments(x, weights)
    total = weights.sum(0).clamp_min(1e-300)
    mean = torch.einsum("nbk,nbd->bkd", weights, x) / total.unsqueeze(-1)
    centred = x.unsqueeze(2) - mean
    left = (centred * weights.unsqueeze(-1)).permute(1, 2, 3, 0)
    cov = left @ centred.permute(1, 2, 0, 3)
    return mean, cov / total[..., None, None]


def _split(x: Tensor, weights: Tensor, mean: Tensor, cov: Tensor, components: int) -> Tensor:
    """Hard shares of equal weight along the principal axis of the standardised draws."""
    scale = cov.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).sqrt()
    correlation = cov / scale.unsqueeze(-1) / scale.unsqueeze(-2)
    axis = torch.linalg.eigh(correlation).eigenvectors[..., -1]
    position = ((x - mean) / scale * axis).sum(-1)
    order = position.argsort(0)
    rank = torch.empty_like(position).scatter_(0, order, weights.gather(0, order).cumsum(0))
    label = (rank * components * (1 - 1e-9)).long().clamp(0, components - 1)
    return torch.nn.functional.one_hot(label, components).to(x)


def _shrink(cov: Tensor, reference: Tensor, size: Tensor, pooled: Tensor) -> Tensor:
    """Shrink ``(batch, component, dim, dim)`` towards its variances with other correlations."""
    if compiled.fits(cov, reference, size, pooled):
        return compiled.shrink(cov, reference, size, pooled)
    dim = cov.shape[-1]
    floor = 1e-6 * pooled.diagonal(dim1=-2, dim2=-1) + 1e-12
    variance = cov.diagonal(dim1=-2, dim2=-1)
    # Few draws also underestimate variances: lean on the pooled ones.
    lean = (1.0 / size.clamp_min(1.0)).unsqueeze(-1)
    variance = ((1 - lean) * variance + lean * pooled.diagonal(dim1=-2, dim2=-1)).clamp_min(floor)
    scale = reference.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).sqrt()
    correlation = (reference / scale.unsqueeze(-1) / scale.unsqueeze(-2)).unsqueeze(1)
    deviation = variance.sqrt()
    goal = correlation * deviation.unsqueeze(-1) * deviation.unsqueeze(-2)
    amount = (dim / (dim + size))[..., None, None]
    return (1 - amount) * cov + amount * goal


def _cholesky(cov: Tensor) -> Tensor:
    """Cholesky factor with as little jitter as each matrix needs."""
    if compiled.fits(cov):
        return compiled.cholesky(cov)
    scale = cov.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300)
    jitter = 1e-10
    for _ in range(4):
        root, info = torch.linalg.cholesky_ex(cov + torch.diag_embed(jitter * scale))
        if not bool((info > 0).any()):
            return root
        jitter *= 1e3
    # Diagonal where nothing else works: always a valid, if blunt, proposal.
    return torch.where((info > 0)[..., None, None], torch.diag_embed(scale.sqrt()), root)
