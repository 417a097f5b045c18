"""Where alembic starts: the connection and its transaction are the caller's."""

__all__ = ["run"]

from alembic import context

from acie.serving.storage.tables import metadata


def run() -> None:
    """Run the migrations that were asked for."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite cannot change a table in place; alembic copies it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


# Alembic executes this file under a name of its own; importing it as a module does nothing.
if __name__ == "env_py":
    run()
