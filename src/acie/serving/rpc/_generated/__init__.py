"""Written by contracts/generate.py from acie.proto."""
