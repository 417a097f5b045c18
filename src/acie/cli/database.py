"""What commands that use the database say when it cannot be used."""

__all__ = ["database_trouble"]

from collections.abc import Iterator
from contextlib import contextmanager

from acie.errors import ConfigurationError

_DRIVERS = ("sqlalchemy", "psycopg", "sqlite3")


@contextmanager
def database_trouble() -> Iterator[None]:
    """Say that the database cannot be used, and nothing of what an error holds but its kind.

    Raises:
        ConfigurationError: In place of the errors of drivers, which hold statements and their
            parameters.
    """
    try:
        yield
    except Exception as error:
        drivers = type(error).__module__.startswith(_DRIVERS)
        if not (drivers or isinstance(error, OSError | RuntimeError)):
            raise
        raise ConfigurationError(
            "database.url",
            expected="a database that can be reached and written",
            found=type(error).__name__,
            remedy="Set ACIE_DATABASE__URL to the database of the service.",
        ) from None
