"""A docker daemon and a podman configuration of the tests' own: what they make is gone with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 60
DAEMON = "py-portable-dockerd-"
OWN = f"{DAEMON}{os.getpid()}-"
"""How the names of all daemons' folders begin, and of those that this process started."""


def needs(*programs: str) -> None:
    """Skip where a daemon cannot be had; tests/skips.toml says where that is allowed."""
    if os.geteuid() != 0:
        pytest.skip("needs root to start a container engine")
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")


@contextlib.contextmanager
def dockerd(*, apart: bool = False) -> Iterator[dict[str, str]]:
    """Start one, and give the variables that lead to it. `apart`: one that shares no folder with the caller."""
    needs("dockerd", "docker")
    folder = Path(tempfile.mkdtemp(prefix=OWN))
    folder.chmod(0o755)
    host = f"tcp://127.0.0.1:{free_port()}" if apart else f"unix://{folder}/sock"
    words = ["dockerd", "--iptables=false", "--bridge=none", "--host", host, "--pidfile", f"{folder}/pid"]
    if apart:
        # Its /tmp, and with it its whole state, is its own.
        hidden = 'mount -t tmpfs own /tmp && mkdir -p "$1" && shift && exec "$@"'
        words = ["unshare", "--mount", "--", "sh", "-c", hidden, "sh", str(folder), *words]
    words += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    log = folder / "log"
    with log.open("wb") as sink, subprocess.Popen(words, stdout=sink, stderr=sink) as daemon:
        try:
            variables = {"DOCKER_HOST": host}
            wait_for(variables, daemon, log)
            if not apart:
                # For the ordinary user of the tests, who is in no group docker.
                (folder / "sock").chmod(0o666)
            yield variables
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                daemon.kill()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4].startswith(f"{folder}/"):  # the namespaces of networks stay mounted
            subprocess.run(["umount", "--lazy", line.split()[4]], check=True)
    shutil.rmtree(folder)


def wait_for(variables: dict[str, str], daemon: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        asked = subprocess.run(["docker", "version"], env={**os.environ, **variables}, capture_output=True)
        if asked.returncode == 0:
            return
        assert daemon.poll() is None and time.monotonic() < end, log.read_text("utf-8", "replace")[-4000:]
        time.sleep(0.1)


@contextlib.contextmanager
def podman() -> Iterator[dict[str, str]]:
    """The variables with which podman works in a folder of its own, on a machine that lets nobody raise a limit."""
    needs("podman", "runc")
    folder = Path(tempfile.mkdtemp(prefix="podman-of-tests-"))
    (folder / "run").mkdir()
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=8192:8192"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run/storage"\n'
    )
    variables = {
        "CONTAINERS_CONF": f"{folder}/containers.conf",
        "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
        "XDG_RUNTIME_DIR": f"{folder}/run",
        "XDG_CONFIG_HOME": f"{folder}/config",
        "XDG_DATA_HOME": f"{folder}/data",
    }
    try:
        yield variables
    finally:
        subprocess.run(
            ["podman", "system", "reset", "--force"],
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
