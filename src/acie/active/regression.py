r"""A regression that knows what it does not know: an exact Gaussian process.

Matern kernel of order 5/2 with a length per input; amplitude, lengths and noise maximise the
marginal likelihood, with a weak prior on the lengths so that ten points do not fix ten lengths.

References:
    Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, equations 2.23-2.24
    (prediction), 4.17 (kernel), 5.8 (marginal likelihood).
    Smith et al. 2023, AISTATS, equation 6: information about predictions (EPIG), here in closed
    form for Gaussians: :math:`-\tfrac12 \log(1 - \rho^2)`, averaged over targets.
"""

__all__ = ["GaussianProcess", "RegressionPool"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.errors import ConfigurationError, NotFitted

#: Prior of the log lengths, for inputs of unit variance: a factor of e around 3.
_LENGTH_PRIOR = (math.log(3.0), 1.0)
#: Smallest variance of the noise, as a share of the variance of the training targets.
_JITTER = 1e-6


class GaussianProcess:
    """A regression with posterior mean and covariance.

    Arguments:
        steps: Steps of the optimiser of the hyperparameters at each fit.
    """

    def __init__(self, steps: int = 25) -> None:
        self.steps = steps
        self._log: Tensor | None = None

    def fit(self, x: Tensor, y: Tensor) -> None:
        """Fit from scratch, starting from the last hyperparameters.

        Arguments:
            x: Inputs of about unit variance, ``(row, input)``, double.
            y: Targets, ``(row,)``, double.

        Raises:
            ConfigurationError: Fewer than two rows, or not finite.
        """
        if len(x) < 2 or not bool(x.isfinite().all() and y.isfinite().all()):
            raise ConfigurationError(
                "y", expected="at least two rows of finite numbers", found=f"{len(x)} rows"
            )
        self._x, self._shift, self._scale = x, y.mean(), y.std().clamp(min=1e-12)
        target = (y - self._shift) / self._scale
        if self._log is None:
            start = [0.0, math.log(1e-3), *[_LENGTH_PRIOR[0]] * x.shape[1]]
            self._log = torch.tensor(start, dtype=torch.float64)
        log = self._log.clone().requires_grad_()
        optimiser = torch.optim.LBFGS([log], max_iter=self.steps, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = self._loss(log, target)
            value.backward()
            return value

        with torch.enable_grad():
            optimiser.step(loss)
        if bool(log.isfinite().all()):
            self._log = log.detach()
        self._factor = self._cholesky(self._log)
        self._weights = torch.cholesky_solve(target[:, None], self._factor)[:, 0]

    @property
    def noise(self) -> Tensor:
        """Variance of the noise of one label."""
        return (self._log[1].exp() + _JITTER) * self._scale**2

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the function, each ``(row,)``."""
        cross = self._cross(x)
        mean = self._shift + self._scale * (cross @ self._weights)
        half = torch.linalg.solve_triangular(self._factor, cross.T, upper=False)
        variance = (self._log[0].exp() - half.square().sum(0)).clamp(min=1e-12)
        return mean, variance * self._scale**2

    def covariance(self, x: Tensor, other: Tensor) -> Tensor:
        """Posterior covariance of the function, ``(row, other)``."""
        one, two = (
            torch.linalg.solve_triangular(self._factor, self._cross(v).T, upper=False)
            for v in (x, other)
        )
        return (self._kernel(x, other, self._log) - one.T @ two) * self._scale**2

    def _cross(self, x: Tensor) -> Tensor:
        if self._log is None:
            raise NotFitted("GaussianProcess", expected="a call of fit", found="none")
        return self._kernel(x, self._x, self._log)

    @staticmethod
    def _kernel(x: Tensor, other: Tensor, log: Tensor) -> Tensor:
        lengths = log[2:].exp()
        one, two = x / lengths, other / lengths
        # Squares of sums: the differences of all pairs and inputs would be ten times slower.
        square = one.square().sum(1)[:, None] + two.square().sum(1) - 2.0 * one @ two.T
        # The small number keeps the gradient of the root finite at distance zero.
        scaled = (5.0 * square.clamp(min=0.0) + 1e-18).sqrt()
        return log[0].exp() * (1.0 + scaled + scaled.square() / 3.0) * torch.exp(-scaled)

    def _cholesky(self, log: Tensor) -> Tensor:
        eye = torch.eye(len(self._x), dtype=torch.float64)
        gram = self._kernel(self._x, self._x, log) + (log[1].exp() + _JITTER) * eye
        return torch.linalg.cholesky(gram)

    def _loss(self, log: Tensor, target: Tensor) -> Tensor:
        factor = self._cholesky(log)
        half = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
        fit = 0.5 * half.square().sum() + factor.diagonal().log().sum()
        centre, width = _LENGTH_PRIOR
        prior = 0.5 * ((log[2:] - centre) / width).square().sum()
        # The amplitude is of order one, since the targets are scaled.
        return fit + prior + 0.5 * (log[0] / 2.0).square()


@dataclass(frozen=True, eq=False)
class RegressionPool:
    """Inputs that could be labelled next.

    Arguments:
        model: A fitted regression.
        x: Candidates, ``(candidate, input)``.
        targets: Inputs at which predictions will be wanted, ``(target, input)``.
    """

    model: GaussianProcess
    x: Tensor
    targets: Tensor

    @property
    def acquisitions(self) -> tuple[str, ...]:
        """Names of the scores."""
        return ("posterior_variance", "variance_reduction", "information_gain")

    def __len__(self) -> int:
        return len(self.x)

    def score(self, by: str) -> Tensor:
        """The score of every candidate, ``(candidate,)``."""
        _, variance = self.model.predict(self.x)
        if by == "posterior_variance":
            return variance
        _, wanted = self.model.predict(self.targets)
        noise = self.model.noise
        square = self.model.covariance(self.x, self.targets).square()
        fall = square / (variance + noise)[:, None]
        if by == "variance_reduction":
            return fall.mean(1)
        share = fall / (wanted + noise)
        return -0.5 * torch.log1p(-share.clamp(0.0, 1.0 - 1e-9)).mean(1)

    def similarity(self, index: int) -> Tensor:
        """Correlation of the labels under the posterior, ``(candidate,)``."""
        _, variance = self.model.predict(self.x)
        total = variance + self.model.noise
        row = self.model.covariance(self.x[index : index + 1], self.x)[0]
        correlation = row / (total[index] * total).sqrt()
        correlation[index] = 1.0
        return correlation
