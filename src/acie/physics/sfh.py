r"""The delayed-exponential star-formation history.

.. math:: \psi(t) \propto t\, e^{-t/\tau}, \qquad 0 \le t \le T

with t the time since the onset of star formation and T the ``age`` of the galaxy. With
:math:`P(x) = 1 - (1 + x) e^{-x}` the mass formed until t is proportional to :math:`P(t/\tau)`.
"""

__all__ = [
    "delayed_tau_bin_masses",
    "delayed_tau_mass_weighted_age",
    "delayed_tau_specific_sfr",
    "solve_delayed_tau",
]

from collections.abc import Callable

import torch
from torch import Tensor

#: Largest age / tau that is told apart: the star-formation rate is then 1e-13 of its mean.
MAX_AGE_OVER_TAU = 40.0


def _formed(x: Tensor) -> Tensor:
    """P(x) without cancellation at small x, where P ~ x^2 / 2 - x^3 / 3 + x^4 / 8."""
    small = x.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(x), x)
    exact = -torch.expm1(-safe) - safe * torch.exp(-safe)
    return torch.where(small, x * x * (0.5 - x / 3.0 + x * x / 8.0), exact)


def delayed_tau_bin_masses(age_gyr: Tensor, tau_gyr: Tensor, edges_gyr: Tensor) -> Tensor:
    """Fraction of the mass ever formed that falls in each bin of stellar age.

    Arguments:
        age_gyr: Time since the onset of star formation, Gyr, shape ``(*batch,)``.
        tau_gyr: Time scale, Gyr, shape ``(*batch,)``.
        edges_gyr: Increasing edges of the stellar-age bins, Gyr, shape ``(bin + 1,)``, from 0.

    Returns:
        Fractions that sum to one (when the last edge is beyond ``age_gyr``), ``(*batch, bin)``.
    """
    time = (age_gyr[..., None] - edges_gyr).clamp(min=0.0)
    formed = _formed(time / tau_gyr[..., None])
    return (formed[..., :-1] - formed[..., 1:]) / formed[..., :1]


def delayed_tau_specific_sfr(age_over_tau: Tensor) -> Tensor:
    r"""Present star-formation rate times age over mass formed.

    .. math:: h(x) = \frac{x^2 e^{-x}}{1 - (1 + x) e^{-x}}, \qquad x = T/\tau

    It falls from 2 (constantly rising history) towards 0, so that
    :math:`\mathrm{SFR}\;T / M_{formed} < 2` for every delayed-exponential history.

    Arguments:
        age_over_tau: x, dimensionless, any shape.

    Returns:
        h(x), dimensionless, same shape.
    """
    x = age_over_tau
    return x * x * torch.exp(-x) / _formed(x)


def delayed_tau_mass_weighted_age(age_gyr: Tensor, tau_gyr: Tensor) -> Tensor:
    r"""Mean age of the stars weighted by mass formed, Gyr.

    .. math:: T - \tau\,\frac{2 - (x^2 + 2x + 2) e^{-x}}{1 - (1 + x) e^{-x}}, \qquad x = T/\tau
    """
    x = age_gyr / tau_gyr
    small = x.abs() < 1e-2
    safe = torch.where(small, torch.ones_like(x), x)
    moment = (2.0 - (safe * safe + 2.0 * safe + 2.0) * torch.exp(-safe)) / _formed(safe)
    # x -> 0: the mean time of formation is 2T/3 (1 - x/12 + ...).
    mean_time = torch.where(small, 2.0 / 3.0 * x * (1.0 - x / 12.0), moment)
    return age_gyr - tau_gyr * mean_time


def solve_delayed_tau(
    age_gyr: Tensor,
    specific_sfr_age: Tensor,
    surviving_fraction: Callable[[Tensor, Tensor], Tensor],
    iterations: int = 60,
) -> Tensor:
    r"""The time scale whose history has a given present star-formation rate.

    Solves :math:`h(T/\tau) = q\, s(T, \tau)` with :math:`q = \mathrm{SFR}\,T/M_\star` and s the
    surviving fraction, by bisection in ln x and one Newton step that also carries the gradient
    (implicit-function theorem).

    Arguments:
        age_gyr: T, Gyr, shape ``(*batch,)``.
        specific_sfr_age: q, dimensionless, below 2, shape ``(*batch,)``.
        surviving_fraction: Function of ``(age_gyr, tau_gyr)``.
        iterations: Bisection steps.

    Returns:
        tau, Gyr, shape ``(*batch,)``.
    """

    def excess(log_x: Tensor, age: Tensor, target: Tensor) -> Tensor:
        x = log_x.exp()
        return delayed_tau_specific_sfr(x).log() - (
            target.log() + surviving_fraction(age, age / x).log()
        )

    with torch.no_grad():
        low = torch.full_like(age_gyr, -9.0)
        high = torch.full_like(age_gyr, MAX_AGE_OVER_TAU).log()
        for _ in range(iterations):
            middle = (low + high) / 2.0
            above = excess(middle, age_gyr, specific_sfr_age) > 0.0
            low = torch.where(above, middle, low)
            high = torch.where(above, high, middle)
        root = (low + high) / 2.0
        step = 1e-5
        slope = (
            excess(root + step, age_gyr, specific_sfr_age)
            - excess(root - step, age_gyr, specific_sfr_age)
        ) / (2.0 * step)
        # At the bracket's ends (a rate beyond what the history can give) there is no root to
        # improve: keep the end and a finite gradient.
        slope = slope.clamp(max=-1e-6)
    log_x = root - excess(root, age_gyr, specific_sfr_age) / slope
    log_x = torch.minimum(torch.maximum(log_x, low.new_tensor(-9.0)), low.new_tensor(40.0).log())
    return age_gyr / log_x.exp()
