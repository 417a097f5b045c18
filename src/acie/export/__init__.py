"""Models as ONNX files: exported, checked against what they were made from, run by ONNX Runtime.

``acie.export.runner`` is also copied beside every export, where it runs without ACIE and torch.
"""

from acie.export.build import export_model, find_export, load_engine
from acie.export.folder import read_export
from acie.export.runner import ExportedModel
from acie.export.runtime import with_onnx

__all__ = [
    "ExportedModel",
    "export_model",
    "find_export",
    "load_engine",
    "read_export",
    "with_onnx",
]
