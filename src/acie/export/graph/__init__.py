"""Graphs of ONNX: written node by node, recorded from modules of torch, joined and made small."""

__all__ = []
