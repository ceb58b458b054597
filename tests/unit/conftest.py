"""What several unit tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from py_portable.engines import static_helpers
from py_portable.store import Store


@pytest.fixture(scope="session")
def helpers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the helpers."""
    folder = tmp_path_factory.mktemp("helpers")
    static_helpers.put(folder)
    return folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Nothing of this machine's own index configuration: no network is asked."""
    home = tmp_path / "home"
    home.mkdir()
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    told = {name: os.environ[name] for name in kept if name in os.environ}
    return told | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "XDG_CONFIG_DIRS": str(home),
        "PIP_CONFIG_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "0",
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
