"""``acie migrate``: with SQLite, and with a PostgreSQL that comes up late."""

import threading
import time

import pytest
from servers import PostgreSQL, free_port, running

from acie.cli import main


def migrate(capsys, *arguments):
    capsys.readouterr()
    code = main(["migrate", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_sqlite(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ACIE_DATABASE__URL", f"sqlite:///{tmp_path}/acie.db")
    assert migrate(capsys, "--check")[:2] == (1, "the database needs a migration: acie migrate\n")
    assert migrate(capsys)[:2] == (0, "the database is migrated\n")
    assert migrate(capsys)[:2] == (0, "the database is current\n")
    assert migrate(capsys, "--check")[0] == 0


def test_nobody_answers(capsys, monkeypatch):
    url = f"postgresql://acie:hidden-word@127.0.0.1:{free_port()}/acie"
    monkeypatch.setenv("ACIE_DATABASE__URL", url)
    code, _, err = migrate(capsys, "--wait", "0.2")
    assert code == 2
    assert "answers within" in err
    assert "hidden-word" not in err


@pytest.mark.slow
def test_postgresql_that_comes_up_late(capsys, monkeypatch):
    with running(PostgreSQL()) as server:
        server.run("CREATE DATABASE acie")
        monkeypatch.setenv("ACIE_DATABASE__URL", server.url_of("acie"))
        server.kill()
        later = threading.Thread(target=lambda: (time.sleep(1.5), server.start()))
        later.start()
        code, out, err = migrate(capsys, "--wait", "60")
        later.join()
        assert (code, out) == (0, "the database is migrated\n"), err
        tables = server.run("SELECT tablename FROM pg_tables WHERE schemaname='public'", "acie")
        assert {"inferences", "api_keys"} <= set(tables.split())
