"""The gate before production: every criterion passed, and no worse than what is there.

A number may be worse by its margin and by three standard errors of the difference, since both
models were measured on finite simulations. What too few simulations would let through, the
criteria themselves leave open, and open is not passed.
"""

__all__ = ["Gate", "Shortfall", "refusal"]

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from acie.errors import PromotionRefused

#: What an evaluation of spectra must judge; a file without one of them proves nothing.
_REQUIRED = (
    "SBC", "Coverage of intervals", "TARP", "Posterior predictive", "Importance efficiency",
    "Counterfactual spectra", "Effects on the spectrum", "Counterfactual states",
    "Law: abduction", "Law: composition", "Law: effectiveness", "Law: minimality",
    "Law: reversibility", "Law: reversibility of the spectrum",
)  # fmt: skip
#: Settings that change what numbers mean: only equal ones are compared.
_SAME = (("survey",), ("settings", "snr"), ("settings", "samples"))
_COVERAGES = (
    "counterfactual_coverage_68", "counterfactual_effect_coverage_68",
    "counterfactual_state_coverage_68",
)  # fmt: skip


@dataclass(frozen=True)
class Shortfall:
    """What keeps a version out of production.

    Arguments:
        criterion: What was asked.
        value: What was found.
        limit: What would have been accepted.
    """

    criterion: str
    value: str
    limit: str

    def __str__(self) -> str:
        return f"{self.criterion}: {self.value}; required: {self.limit}"


@dataclass(frozen=True)
class Gate:
    """Margins by which a version may be worse than the one in production.

    Arguments:
        scatter: Share of the scatter of each variable.
        bias: Growth of each absolute bias, as a share of the scatter.
        efficiency: Share of the median importance efficiency.
        coverage: Growth of the distance of counterfactual coverages from 68 %.
        sigmas: Standard errors of the difference that are allowed on top, where there are any.
    """

    scatter: float = 0.05
    bias: float = 0.1
    efficiency: float = 0.1
    coverage: float = 0.02
    sigmas: float = 3.0

    def judge(
        self, report: Mapping[str, Any] | None, present: Mapping[str, Any] | None = None
    ) -> list[Shortfall]:
        """What an evaluation falls short of.

        Arguments:
            report: The evaluation of the version; None when there is none.
            present: The evaluation of the version in production; None when there is none there.
        """
        if report is None:
            return [Shortfall("evaluation", "none", "the evaluation.json of acie evaluate")]
        try:
            return [*_criteria(report), *(self._worse(report, present) if present else ())]
        except (KeyError, TypeError, AttributeError) as error:
            found = f"a report that lacks {str(error)[:80]}"
            return [Shortfall("evaluation", found, "the evaluation.json of acie evaluate")]

    def _worse(
        self, report: Mapping[str, Any], present: Mapping[str, Any]
    ) -> Iterator[Shortfall]:
        differing = [path for path in _SAME if _at(report, path) != _at(present, path)]
        for path in differing:
            yield Shortfall(
                f"settings: {'.'.join(path)}", f"{_at(report, path)}",
                f"{_at(present, path)}, as for the version in production",
            )  # fmt: skip
        if not differing:
            yield from self._states(report["recovery"], present["recovery"])
            yield from self._answers(report, present)

    def _states(
        self, new: Mapping[str, Any], old: Mapping[str, Any]
    ) -> Iterator[Shortfall]:
        for name, before in old.items():
            if name not in new:
                yield Shortfall(f"variable {name}", "absent", "present, as in production")
                continue
            after = new[name]
            limit = before["scatter"] * (1.0 + self.scatter)
            limit += self.sigmas * math.hypot(before["scatter_error"], after["scatter_error"])
            if not after["scatter"] <= limit:
                yield _beyond(f"scatter of {name}", after["scatter"], limit, before["scatter"])
            limit = abs(before["bias"]) + self.bias * before["scatter"]
            limit += self.sigmas * math.hypot(before["bias_error"], after["bias_error"])
            if not abs(after["bias"]) <= limit:
                yield _beyond(f"|bias| of {name}", abs(after["bias"]), limit, abs(before["bias"]))

    def _answers(
        self, report: Mapping[str, Any], present: Mapping[str, Any]
    ) -> Iterator[Shortfall]:
        after, before = report["efficiency"], present["efficiency"]
        limit = before["median"] * (1.0 - self.efficiency)
        limit -= self.sigmas * math.hypot(before["median_error"], after["median_error"])
        if not after["median"] >= limit:
            yield Shortfall(
                "importance efficiency, median", f"{after['median']:.4g}",
                f"at least {limit:.4g} (production: {before['median']:.4g})",
            )  # fmt: skip
        for name in _COVERAGES:
            off, was = abs(report[name] - 0.68), abs(present[name] - 0.68)
            if not off <= was + self.coverage:
                yield _beyond(f"|{name} - 0.68|", off, was + self.coverage, was)


def refusal(version: str, shortfalls: list[Shortfall]) -> PromotionRefused:
    """The error that lists what a version falls short of; its ``shortfalls`` has them as data."""
    lines = "".join(f"\n  {one}" for one in shortfalls)
    error = PromotionRefused(
        "production",
        expected="a version that passes every criterion and is no worse than the present one",
        found=f"{version}, which falls short of {len(shortfalls)}:{lines}",
    )
    error.shortfalls = shortfalls
    return error


def _criteria(report: Mapping[str, Any]) -> Iterator[Shortfall]:
    rows = report["verdicts"]
    for required in _REQUIRED:
        if not any(row["criterion"].startswith(required) for row in rows):
            yield Shortfall(required, "not in the evaluation", "judged, and passed")
    for row in rows:
        if row["verdict"] != "pass":
            yield Shortfall(
                row["criterion"],
                f"{row['verdict']}: {row['measured']} ({row['sampling_error']})",
                row["required"],
            )


def _beyond(what: str, value: float, limit: float, before: float) -> Shortfall:
    return Shortfall(what, f"{value:.4g}", f"at most {limit:.4g} (production: {before:.4g})")


def _at(report: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = report
    for key in path:
        found = found[key]
    return found
