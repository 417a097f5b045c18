"""The evaluation as one object for JSON, with a verdict on each criterion."""

__all__ = ["FAIL", "OPEN", "PASS", "evaluate", "summarise"]

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist
from typing import Any

import acie
from acie.engine import CounterfactualEngine
from acie.evaluation.binning import binned
from acie.evaluation.calibration import Measured, coverage, recovery, sbc, tarp
from acie.evaluation.causal import counterfactuals, efficiency, laws, predictive
from acie.evaluation.chunks import measure
from acie.evaluation.config import EvaluationConfig
from acie.evaluation.draws import survey_of
from acie.evaluation.local_test import local_tests
from acie.evaluation.population import Population
from acie.evaluation.questions import make_questions
from acie.seeds import SeedStream

PASS, FAIL, OPEN = "pass", "fail", "open"
#: Requirements of the project: SBC p value after Bonferroni, coverage in share, efficiency.
SBC_P, TOLERANCE, EFFICIENCY = 0.01, 0.03, 0.12
#: L-C2ST has a resolution of one over its trials plus one, so 0.01 is out of its reach.
LOCAL_P = 0.05
#: A difference from chance at this level is called significant.
_LEVEL = 0.01


def evaluate(
    engine: CounterfactualEngine,
    config: EvaluationConfig,
    folder: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
    stage: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Any], Measured]:
    """Measure fresh simulations and sum up.

    Arguments:
        engine: What is evaluated.
        config: Settings.
        folder: Chunks are kept in its folder ``chunks`` and not computed twice.
        progress: Called with the number of galaxies done.
        stage: Called with what is done after the last galaxy.

    Returns:
        The report as plain data for JSON, and the galaxies for figures.

    Raises:
        ConfigurationError: The extra ``evaluate`` is not installed.
    """
    started = time.monotonic()
    found = measure(engine, config, None if folder is None else folder / "chunks", progress)
    stage("ranks, coverage, TARP")
    stream = SeedStream(config.seed)
    population = Population.of(engine, stream.generator("population"))
    generator = stream.generator("summary")
    measured = Measured.of(population, found, config.ranked, generator)
    report = summarise(engine, config, measured, stage)
    report["seconds"] = round(time.monotonic() - started, 1)
    return report, measured


def summarise(
    engine: CounterfactualEngine,
    config: EvaluationConfig,
    measured: Measured,
    stage: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Every table of the report, and the verdicts."""
    generator = SeedStream(config.seed).generator("tables")
    survey, bundle = survey_of(config), engine.bundle
    questions = make_questions(engine, measured.population, config)
    report: dict[str, Any] = {
        "acie": acie.__version__,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "settings": asdict(config),
        "survey": {"redshift": survey.redshift, "snr": survey.snr},
        "count": measured.count,
        "recovery": recovery(measured, generator),
        "sbc": sbc(measured, generator),
        "coverage": coverage(measured, generator),
        "tarp": tarp(measured, generator),
        "predictive": predictive(measured, config.replicates),
        "efficiency": efficiency(measured, generator),
        "counterfactuals": counterfactuals(measured, questions),
        "laws": laws(measured),
        "binned": binned(measured, generator),
    }
    if config.null_trials and measured.count >= 40:
        stage("local classifier tests (L-C2ST)")
    report["local"] = local_tests(measured, config.objects, config.null_trials, config.seed)
    report |= _flat(report)
    report["verdicts"] = _verdicts(report)
    return plain(report)


def plain(value: Any) -> Any:
    """The same with NaN and infinities as null, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _flat(report: dict[str, Any]) -> dict[str, Any]:
    """Short names, the same as those of ``benchmarks/recovery.py``."""
    rows = report["counterfactuals"]

    def mean(name: str) -> float:
        """Over all questions that have a value, by the number of galaxies asked."""
        known = [row for row in rows if math.isfinite(row[name])]
        total = sum(row["count"] for row in known)
        return sum(row[name] * row["count"] for row in known) / max(total, 1)

    return {
        "scatter": {name: row["scatter"] for name, row in report["recovery"].items()},
        "bias": {name: row["bias"] for name, row in report["recovery"].items()},
        "coverage_68": {name: row["coverage_68"] for name, row in report["recovery"].items()},
        "efficiency_median": report["efficiency"]["median"],
        "counterfactual_coverage_68": mean("coverage_spectrum"),
        "counterfactual_effect_coverage_68": mean("coverage_effect"),
        "counterfactual_state_coverage_68": mean("coverage_state"),
    }


def _verdicts(report: dict[str, Any]) -> list[dict[str, str]]:
    rows = [
        _sbc_row(report["sbc"], report["count"]),
        _coverage_row(report["coverage"]),
        _tarp_row(report["tarp"]),
        _predictive_row(report["predictive"], report["count"]),
        _efficiency_row(report["efficiency"]),
        *[_answer_row(report, name) for name in ("spectrum", "effect", "state")],
        *[_law_row(name, law) for name, law in report["laws"].items()],
    ]
    if report["local"] is not None:
        rows.insert(3, _local_row(report["local"]))
    return rows


def _row(name: str, measured: str, error: str, required: str, verdict: str) -> dict[str, str]:
    return {
        "criterion": name, "measured": measured, "sampling_error": error, "required": required,
        "verdict": verdict,
    }  # fmt: skip


def _sbc_row(table: dict[str, Any], count: int) -> dict[str, str]:
    name, p = min(table["p_bonferroni"].items(), key=lambda item: item[1])
    # Kolmogorov's limit at the corrected level: smaller deviations can pass unseen.
    seen = math.sqrt(math.log(2.0 * len(table["p"]) / SBC_P) / (2.0 * count))
    return _row(
        "SBC: ranks of the truth uniform", f"smallest p = {p:.2g} ({name})",
        f"sees deviations from {100 * seen:.1f} points", f"p > {SBC_P:g} after Bonferroni",
        PASS if p > SBC_P else FAIL,
    )  # fmt: skip


def _coverage_row(table: dict[str, Any]) -> dict[str, str]:
    name, worst = max(table["largest_deviation"].items(), key=lambda item: item[1])
    beyond = FAIL if worst > table["limit"] else OPEN
    verdict = PASS if worst <= TOLERANCE else beyond
    level = 100.0 * table["at_level"][name]
    return _row(
        "Coverage of intervals at every level, every variable",
        f"off by at most {100 * worst:.1f} points ({name}, {level:.0f} %)",
        f"a perfect model: {100 * table['expected']:.1f} typically, "
        f"{100 * table['limit']:.1f} in 1 %",
        f"within {100 * TOLERANCE:g} points", verdict,
    )  # fmt: skip


def _tarp_row(table: dict[str, Any]) -> dict[str, str]:
    return _row(
        "TARP: all variables together",
        f"off by at most {100 * table['largest_deviation']:.1f} points (p = {table['p']:.2g})",
        f"99 % band up to ±{100 * table['half_width']:.1f} points", "inside its 99 % band",
        PASS if table["inside"] else FAIL,
    )  # fmt: skip


def _local_row(table: dict[str, Any]) -> dict[str, str]:
    p = min(row["p_bonferroni"] for row in table["objects"])
    resolution = len(table["objects"]) / (table["trials"] + 1)
    found = PASS if p > LOCAL_P else FAIL
    verdict = OPEN if resolution > LOCAL_P else found
    return _row(
        f"L-C2ST at {len(table['objects'])} objects", f"smallest p = {p:.2g}",
        f"resolution {resolution:.2g} ({table['trials']} trials)",
        f"p > {LOCAL_P:g} after Bonferroni", verdict,
    )  # fmt: skip


def _predictive_row(table: dict[str, Any], count: int) -> dict[str, str]:
    share = table["p_chi2"]["share_below_0.1"]
    error = table["p_chi2"]["error"]
    limit = 0.1 + NormalDist().inv_cdf(1.0 - _LEVEL) * error
    beyond = FAIL if share > limit else OPEN
    return _row(
        "Posterior predictive: χ² of the spectra", f"{100 * share:.1f} % have p ≤ 0.1",
        f"±{100 * error:.1f} points",
        f"10 %, or fewer (a right model: up to {100 * limit:.1f} % at N = {count})",
        PASS if share <= 0.1 else beyond,
    )  # fmt: skip


def _efficiency_row(table: dict[str, Any]) -> dict[str, str]:
    median, error = table["median"], table["median_error"]
    distance = abs(median - EFFICIENCY)
    verdict = PASS if median > EFFICIENCY else FAIL
    if distance < NormalDist().inv_cdf(1.0 - _LEVEL) * error:
        verdict = OPEN
    return _row(
        "Importance efficiency, median", f"{100 * median:.1f} %", f"±{100 * error:.1f} points",
        f"above {100 * EFFICIENCY:g} %", verdict,
    )  # fmt: skip


def _answer_row(report: dict[str, Any], name: str) -> dict[str, str]:
    """Worst question; the galaxy is the unit, and significance allows for many questions.

    A question that few galaxies can be asked may be furthest off by chance and must not hide one
    that is significantly off: that one counts as the worst. Errors come from the galaxies
    themselves, so few of them make Student's law of the difference wider than the normal one.
    """
    from scipy.stats import t

    rows = [
        row
        for row in report["counterfactuals"]
        if row["count"] > 1 and math.isfinite(row[f"coverage_{name}"])
    ]
    what = {
        "spectrum": "Counterfactual spectra", "effect": "Effects on the spectrum",
        "state": "Counterfactual states",
    }[name]  # fmt: skip

    def missed(row: dict[str, Any]) -> bool:
        off, error = abs(row[f"coverage_{name}"] - 0.68), row[f"coverage_{name}_error"]
        sigmas = float(t.isf(_LEVEL / 2.0 / len(rows), row["count"] - 1))
        return off > TOLERANCE and off > sigmas * error

    failed = [row for row in rows if missed(row)]
    worst = max(failed or rows, key=lambda row: abs(row[f"coverage_{name}"] - 0.68))
    off, error = worst[f"coverage_{name}"] - 0.68, worst[f"coverage_{name}_error"]
    fine = abs(off) <= TOLERANCE and 2.0 * error <= TOLERANCE
    verdict = FAIL if failed else PASS if fine else OPEN
    key = "counterfactual_coverage_68" if name == "spectrum" else (
        f"counterfactual_{name}_coverage_68"
    )  # fmt: skip
    return _row(
        f"{what}: coverage of 68 % intervals, worst of {len(rows)} questions",
        f"{100 * (0.68 + off):.1f} % ({worst['label']}); mean of all {100 * report[key]:.1f} %",
        f"±{100 * error:.1f} points", f"68 ± {100 * TOLERANCE:g} %", verdict,
    )  # fmt: skip


def _law_row(name: str, law: dict[str, Any]) -> dict[str, str]:
    allowed = "exactly 0" if law["allowed"] == 0 else f"at most {law['allowed']:g}"
    return _row(
        f"Law: {name.replace('_', ' of the ')}", f"{law['deviation']:.2g}",
        f"none ({law['checks']} checks)", allowed, PASS if law["holds"] else FAIL,
    )  # fmt: skip
