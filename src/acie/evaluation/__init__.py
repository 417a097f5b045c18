"""How far answers can be trusted: calibration, counterfactual error and causal laws, measured.

``evaluate`` measures fresh simulations and sums up; ``write_report`` writes the report of it.
"""

from acie.evaluation.calibration import Measured
from acie.evaluation.chunks import measure, measurement_key
from acie.evaluation.config import EvaluationConfig
from acie.evaluation.recovery import Recovery, measure_recovery
from acie.evaluation.report import write_report
from acie.evaluation.summary import evaluate, summarise

__all__ = [
    "EvaluationConfig",
    "Measured",
    "Recovery",
    "evaluate",
    "measure",
    "measure_recovery",
    "measurement_key",
    "summarise",
    "write_report",
]
