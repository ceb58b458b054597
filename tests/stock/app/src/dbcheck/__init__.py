"""Says which libpq it is linked with."""

from __future__ import annotations

import psycopg2.extensions


def main() -> None:
    print(f"libpq {psycopg2.extensions.libpq_version() // 10000} works")
