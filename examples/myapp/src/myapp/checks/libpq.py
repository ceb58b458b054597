"""libpq, through psycopg2."""

from psycopg2 import extensions


def check() -> None:
    """Ask libpq for its version and let it take a connection string apart."""
    version = extensions.libpq_version()
    if version < 90000:
        raise RuntimeError(f"libpq says it is version {version}")
    parts = extensions.parse_dsn("dbname='my app' user=me port=5433")
    if parts != {"dbname": "my app", "user": "me", "port": "5433"}:
        raise RuntimeError(f"libpq read the connection string as {parts}")
