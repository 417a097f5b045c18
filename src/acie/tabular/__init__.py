"""Bring your own graph and catalogue: learn the mechanisms, ask about the rows."""

__all__ = [
    "FitConfig",
    "GraphSpec",
    "TabularAbduction",
    "TabularBundle",
    "TabularEngine",
    "TabularPosterior",
    "TabularResult",
    "VariableSpec",
    "answer_catalogue",
    "fit",
    "write_answer",
]

from acie.tabular.answers import answer_catalogue, write_answer
from acie.tabular.bundle import TabularBundle
from acie.tabular.engine import (
    TabularAbduction,
    TabularEngine,
    TabularPosterior,
    TabularResult,
)
from acie.tabular.learn import FitConfig, fit
from acie.tabular.spec import GraphSpec, VariableSpec
