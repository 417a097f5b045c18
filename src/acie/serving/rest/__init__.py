"""REST: decode, call the service, encode."""

__all__ = []
