"""A whole answer as one graph: encoder, network, causal worlds, light, and its check."""

__all__ = []
