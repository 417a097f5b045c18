"""The database does not answer."""

__all__ = ["StorageUnavailable", "unavailable"]

from acie.errors import ACIEError


class StorageUnavailable(ACIEError):
    """The database is away, or has not the tables of this version."""

    retry_after_s: float = 5.0


def unavailable(error: Exception) -> StorageUnavailable:
    """The refusal of a request that needs the database, which failed with ``error``.

    Only the kind of the error is shown: its text may hold addresses, users and SQL.
    """
    return StorageUnavailable(
        "database",
        expected="an answer",
        found=f"none ({type(error).__name__})",
        remedy="Try again later; if it stays so, migrate the database: acie serve --migrate.",
    )
