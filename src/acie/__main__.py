"""``python -m acie`` is the ``acie`` command."""

from acie.cli import main

__all__ = []

if __name__ == "__main__":
    raise SystemExit(main())
