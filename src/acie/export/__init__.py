"""Models in other forms: ONNX files, checked and run by ONNX Runtime; TorchServe archives.

``acie.export.runner`` is also copied beside every export, where it runs without ACIE and torch.
"""

from acie.export.build import export_model, find_export, load_engine, model_card, ready_export
from acie.export.folder import read_export
from acie.export.runner import ExportedModel
from acie.export.runtime import with_onnx
from acie.export.torchserve import export_torchserve

__all__ = [
    "ExportedModel",
    "export_model",
    "export_torchserve",
    "find_export",
    "load_engine",
    "model_card",
    "read_export",
    "ready_export",
    "with_onnx",
]
