"""Models in the forms of other programs."""

__all__ = ["export_torchserve"]

from acie.export.torchserve import export_torchserve
