"""What several unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_portable import native


@pytest.fixture(scope="session")
def helpers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled cell-run and canary."""
    folder = tmp_path_factory.mktemp("helpers")
    native.compile(folder)
    return folder
