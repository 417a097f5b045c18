"""The amortised posterior as graphs: sampling, its check against torch, and weights of 8 bits."""

__all__ = []
