r"""The delayed-exponential star-formation history.

.. math:: \psi(t) \propto t\, e^{-t/\tau}, \qquad 0 \le t \le T

with t the time since the onset of star formation and T the ``age`` of the galaxy. With
:math:`P(x) = 1 - (1 + x) e^{-x}` the mass formed until t is proportional to :math:`P(t/\tau)`.
"""

__all__ = [
    "DelayedTauSolver",
    "HistoryTables",
    "delayed_tau_bin_masses",
    "delayed_tau_mass_weighted_age",
    "delayed_tau_specific_sfr",
]

import math
from collections.abc import Callable

import torch
from torch import Tensor

from acie.native import operators

#: Largest age / tau that is told apart: the star-formation rate is then 1e-13 of its mean.
MAX_AGE_OVER_TAU = 40.0
#: States looked up at a time.
_LOOKUP = 8192
#: Columns of the table that are looked at together.
_STRIDE = 32
#: At the ends of the range there is no root to improve: this keeps steps and gradients finite.
_FLATTEST = -1e-6


def _formed(x: Tensor) -> Tensor:
    """P(x) without cancellation at small x, where P ~ x^2 / 2 - x^3 / 3 + x^4 / 8."""
    if x.dtype == torch.float64:
        # In this form the first order has cancelled exactly, and the error is 2 eps / x.
        x = x.clamp(max=600.0)
        return torch.exp(-x) * (torch.expm1(x) - x)
    # That is too much in single precision.
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


class HistoryTables:
    """What the compiled kernels of a history read.

    Arguments:
        edges_gyr: See :func:`delayed_tau_bin_masses`.
        survival: Mass in stars and remnants over mass formed of each bin, ``(bin,)``.
    """

    def __init__(self, edges_gyr: Tensor, survival: Tensor) -> None:
        self.survival = survival.detach().cpu().double()
        # Vectors are read whole, also those that begin at the last edge.
        self.edges = torch.nn.functional.pad(edges_gyr.cpu().double(), (0, 4), value=math.inf)
        #: Of a bin minus the one before it, at the edge between them, ``(bin + 1,)``.
        self.steps = torch.nn.functional.pad(self.survival, (0, 1))
        self.steps[1:] -= self.survival

    def surviving(self, age_gyr: Tensor, tau_gyr: Tensor) -> Tensor:
        """Mass in stars and remnants over mass formed, ``(*batch,)``."""
        age_gyr, tau_gyr = torch.broadcast_tensors(age_gyr, tau_gyr)
        return operators.surviving(age_gyr, tau_gyr, self.edges, self.steps)


class DelayedTauSolver:
    r"""The time scale whose history has a given present star-formation rate.

    Solves :math:`h(T/\tau) = q\, s(T, \tau)` with :math:`q = \mathrm{SFR}\,T/M_\star` and s the
    surviving fraction. A table made once gives the root to a few parts in ten thousand, and the
    slope; a chord step and a secant step follow. Where a gradient is asked for, the last step has
    the slope at the root and carries it (implicit-function theorem).

    Arguments:
        surviving_fraction: Function of ``(age_gyr, tau_gyr)``.
        tables: What the compiled kernels read to compute the same.
    """

    _AGES = (0.04, 14.0, 192)
    #: ln(age / tau): beyond the lower end the history rises linearly.
    _LOG_X = (-9.0, math.log(MAX_AGE_OVER_TAU), 1024)

    def __init__(
        self,
        surviving_fraction: Callable[[Tensor, Tensor], Tensor],
        tables: HistoryTables | None = None,
    ) -> None:
        self._surviving, self._tables = surviving_fraction, tables
        low, high, count = self._AGES
        self._log_age = torch.linspace(math.log(low), math.log(high), count, dtype=torch.float64)
        self._log_x = torch.linspace(*self._LOG_X, dtype=torch.float64)
        self._spacing = float(self._log_x[1] - self._log_x[0])
        ends = (*self._log_x[[0, -1]].tolist(), self._spacing, _FLATTEST)
        width = self._log_age[1] - self._log_age[0]
        self._grid = torch.tensor([self._log_age[0], width, *ends], dtype=torch.float64)
        self._table: Tensor | None = None

    def __call__(self, age_gyr: Tensor, specific_sfr_age: Tensor) -> Tensor:
        """Tau in Gyr.

        Arguments:
            age_gyr: T, Gyr, shape ``(*batch,)``.
            specific_sfr_age: q, dimensionless, shape ``(*batch,)``. Where no history gives it,
                the result is that of the nearest one.
        """
        age_gyr, specific_sfr_age = torch.broadcast_tensors(age_gyr, specific_sfr_age)
        if self._tables is not None and operators.usable(age_gyr, specific_sfr_age):
            self._tabulate(age_gyr)
            return operators.solve_tau(
                age_gyr, specific_sfr_age, self._grid, self._table, self._tables.edges,
                self._tables.steps,
            )  # fmt: skip
        log_q = specific_sfr_age.log()
        with torch.no_grad():
            start, slope = self._start(age_gyr, log_q)
            excess = self._excess(start, age_gyr, log_q)
            root = self._clamp(start - excess / slope)
        last = self._excess(root, age_gyr, log_q)
        if last.requires_grad:
            # The gradient needs the slope at the root, not near it.
            with torch.no_grad():
                slope = self._slope(root, age_gyr, log_q, last)
        else:
            moved = root - start
            secant = (last - excess) / moved
            # Where nothing moved, rounding is all that differs.
            slope = torch.where(moved.abs() > 1e-9, secant.clamp(max=_FLATTEST), slope)
        log_x = root - last / slope
        return age_gyr / self._clamp(log_x).exp()

    def _clamp(self, log_x: Tensor) -> Tensor:
        return log_x.clamp(self._LOG_X[0], self._LOG_X[1])

    def _excess(self, log_x: Tensor, age: Tensor, log_q: Tensor) -> Tensor:
        x = log_x.exp()
        return delayed_tau_specific_sfr(x).log() - log_q - self._surviving(age, age / x).log()

    def _slope(self, log_x: Tensor, age: Tensor, log_q: Tensor, value: Tensor) -> Tensor:
        step = 1e-5
        slope = (self._excess(log_x + step, age, log_q) - value) / step
        return slope.clamp(max=_FLATTEST)

    def _start(self, age: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
        """Root of the tabulated function, linear between nodes, and its slope there."""
        self._tabulate(age)
        flat = zip(
            age.double().reshape(-1).split(_LOOKUP), log_q.reshape(-1).split(_LOOKUP), strict=True
        )
        found = zip(*(self._lookup(*part) for part in flat), strict=True)
        root, slope = (torch.cat(parts).reshape(age.shape).to(age.dtype) for parts in found)
        return root, slope

    def _tabulate(self, age: Tensor) -> None:
        """Make the table, once on each device."""
        if self._table is None or self._table.device != age.device:
            self._table = torch.cat([self._row(log_age) for log_age in self._log_age.to(age)])

    def _row(self, log_age: Tensor) -> Tensor:
        """The table at one age, ``(1, node)``."""
        log_x = self._log_x.to(log_age.device)[None]
        age = log_age.double().exp().expand_as(log_x)
        return self._excess(log_x, age, torch.zeros_like(log_x))

    def _lookup(self, age: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
        table, first, width = self._table, self._log_age[0], self._log_age[1] - self._log_age[0]
        position = ((age.log() - first) / width).clamp(0, len(self._log_age) - 1.001)
        # An age that is not a number stays one, through the lines below.
        row = position.nan_to_num().long()
        share = (position - row)[:, None]
        # The rate falls with x; searching wants it rising.
        goal = -log_q.double()[:, None]

        def values(low: Tensor, high: Tensor) -> Tensor:
            return -torch.lerp(low, high, share)

        # Every so many columns first, then those between: a row is long.
        coarse = table[:, ::_STRIDE].contiguous()
        block = torch.searchsorted(values(coarse[row], coarse[row + 1]), goal) - 1
        columns = _STRIDE * block.clamp(0, coarse.shape[1] - 1) + torch.arange(
            _STRIDE + 1, device=age.device
        )
        columns = columns.clamp(max=table.shape[1] - 1)
        near = values(table[row[:, None], columns], table[row[:, None] + 1, columns])
        place = torch.searchsorted(near, goal).clamp(1, _STRIDE)
        left, right = near.gather(1, place - 1), near.gather(1, place)
        part = ((goal - left) / (right - left).clamp(min=1e-12)).clamp(0.0, 1.0)
        column = columns.gather(1, place - 1) + part
        slope = ((left - right) / self._spacing).clamp(max=_FLATTEST)
        return self._log_x[0].to(age.device) + self._spacing * column[:, 0], slope[:, 0]
