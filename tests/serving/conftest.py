"""Real servers for the tests that want them."""

import pytest
from servers import (  # noqa: F401
    nginx_server,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """An empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'acie.db'}"
    return request.getfixturevalue("postgres_url")
