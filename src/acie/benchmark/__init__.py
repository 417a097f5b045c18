"""How fast a model is on this machine, and how far that is from what the machine can do."""

__all__ = ["BenchmarkConfig", "compare", "run_benchmark"]

from acie.benchmark.config import BenchmarkConfig
from acie.benchmark.report import compare
from acie.benchmark.runner import run_benchmark
