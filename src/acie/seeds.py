"""Named random streams: never the global state."""

__all__ = ["SeedStream"]

import hashlib

import torch


class SeedStream:
    """Independent generators derived from one seed and a name.

    Arguments:
        seed: Any integer.

    Example:
        >>> a = SeedStream(1).generator("noise")
        >>> b = SeedStream(1).generator("noise")
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        True
    """

    def __init__(self, seed: int) -> None:
        self.seed = int(seed)

    def generator(self, name: str, device: str | torch.device = "cpu") -> torch.Generator:
        """A fresh generator for ``name``; the same name gives the same numbers."""
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        generator = torch.Generator(device=device)
        # 63 bits: torch refuses seeds that do not fit a signed 64-bit integer on some devices.
        generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        return generator
