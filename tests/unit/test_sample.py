"""The sample app where its libraries are missing: it must not claim that anything works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "examples" / "myapp" / "src"
# Its own metadata, as an installer would write it; psycopg2, pycurl and myextension stay missing.
METADATA = "Metadata-Version: 2.1\nName: myapp\nVersion: 1.0.0\n"


def start(tmp_path: Path, *words: str, lacks: str = "") -> subprocess.CompletedProcess[str]:
    info = tmp_path / "site" / "myapp-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    for name in lacks.split():
        (tmp_path / "site" / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-B", "-m", "myapp.myapp", *words],
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{SOURCE}"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )


def test_a_missing_library_is_a_failure_and_no_line_is_printed(tmp_path: Path) -> None:
    result = start(tmp_path, "run", lacks="psycopg2")
    assert result.returncode != 0
    assert "no psycopg2 here" in result.stderr
    assert result.stdout == ""


def test_package_data_and_version_are_read(tmp_path: Path) -> None:
    result = start(tmp_path, "show")
    assert result.returncode == 0
    assert result.stdout.startswith("Greetings from a file that travels with the package.")
    assert "Grüße" in result.stdout
    result = start(tmp_path / "again", "--version")
    assert result.stdout == "myapp, version 1.0.0\n"
