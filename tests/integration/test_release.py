"""The kit's own release, as `scripts/release make` leaves it: wheels that install, and a bundle for old images."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from py_portable import __version__, images
from py_portable.commands import bring as bring_command
from py_portable.engines import static_helpers
from py_portable.store import Store, default_root
from tests.integration.conftest import REPOSITORY
from tests.integration.github import APP, copy_of_the_kit

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Release:
    root: Path
    asked: str

    @property
    def files(self) -> Path:
        return self.root / "release" / "out" / "files"

    @property
    def bundle(self) -> Path:
        return self.files / f"py-portable-{__version__}-{platform.machine()}.tar.zst"

    @property
    def wheel(self) -> Path:
        (found,) = self.files.glob("*.whl")
        return found


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """All of a dry run. The baseline is that of portable.yaml, so the interpreter is the one of the main job."""
    root = copy_of_the_kit(tmp_path_factory.mktemp("release") / "kit")
    words = [sys.executable, "-m", "release", "--dry-run"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Release(root, done.stdout)


def test_a_dry_run_makes_everything_and_asks_nobody(release: Release) -> None:
    names = {path.name for path in release.files.iterdir()}
    published = {path.name for path in (release.root / "release/out/publish").iterdir()}
    schemas = {f"{name}.schema.json" for name in ("portable", "lock", "evidence")}
    assert len(published) == 2 and published < names
    assert names == {*published, *schemas, release.bundle.name, "evidence.json", "SHA256SUMS"}
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=release.files, check=True)
    told = json.loads((release.files / "evidence.json").read_text())
    assert {cell["verdict"] for cell in told["cells"]} == {"PASS"}
    assert {cell["image"] for cell in told["cells"]} == {"debian:11", "debian:12", "debian:13"}
    assert f"would ask: gh release create v{__version__} --verify-tag" in release.asked
    assert "would ask: gh api --method POST" in release.asked and "ref=refs/tags/v1" in release.asked


GH = """\
#!/bin/sh
[ "$GH_TOKEN" = secret ] || exit 4
printf '%s\\n' "$*" >>"$ASKED"
case "$*" in
release\\ view*) exit 1 ;;
*tags\\ --jq*) echo "v0.0.9 v1" ;;
esac
"""


def test_a_tag_asks_for_the_page_and_then_for_the_moving_tag(release: Release, tmp_path: Path) -> None:
    """By a gh that writes down what it is asked; nothing that is not as it was made gets that far."""
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(0o755)
    asked, root = tmp_path / "asked", tmp_path / "kit"
    shutil.copytree(release.root, root, symlinks=True, ignore=shutil.ignore_patterns("dist"))

    def publish() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "release", "publish", "--tag", f"v{__version__}"]
        own = {"GH_TOKEN": "secret", "ASKED": str(asked), "PATH": f"{gh.parent}:{os.environ['PATH']}"}
        done = subprocess.run(words, cwd=root, env={**os.environ, **own}, capture_output=True, text=True, check=False)
        assert "secret" not in done.stdout + done.stderr
        return done

    log = root / "CHANGELOG.md"
    log.write_text(log.read_text("utf-8").replace(f"## {__version__} (2", f"## {__version__} (unreleased, 2"), "utf-8")
    assert publish().returncode == 2
    dated = re.sub(r"^## (\S+) \(.*\)$", r"## \1 (2026-01-31)", log.read_text("utf-8"), count=1, flags=re.MULTILINE)
    log.write_text(dated, "utf-8")
    bundle = root / "release/out/files" / release.bundle.name
    data = bundle.read_bytes()
    bundle.write_bytes(data[:-1])
    refused = publish()
    assert (refused.returncode, asked.exists()) == (2, False)
    assert "the files are not those of SHA256SUMS" in refused.stderr
    bundle.write_bytes(data)
    done = publish()
    assert done.returncode == 0, done.stderr
    assert f"v1 is v{__version__}, commit " in done.stderr
    lines = asked.read_text().splitlines()
    assert [" ".join(line.split()[:2]) for line in lines] == [
        "release view",
        "release create",
        "api --paginate",
        "api --method",
    ]
    assert all(str(root / "release/out/files" / path.name) in lines[1].split() for path in release.files.iterdir())
    assert "PATCH repos/{owner}/{repo}/git/refs/tags/v1 -F force=true -f sha=" in lines[3]


def test_the_wheel_holds_every_file_of_the_package(release: Release) -> None:
    source = release.root / "src"
    there = {p.relative_to(source).as_posix() for p in source.glob("py_portable/**/*") if p.is_file()}
    # What only refreshes the pins stays in the repository.
    wanted = {name for name in there if name != "py_portable/resources/tools.in" and "__pycache__" not in name}
    assert release.wheel.name == f"py_portable-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(release.wheel) as archive:
        assert archive.testzip() is None
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted
    # Compiled helpers for several machines lie in it, and it keeps the promise of its tag.
    tags = subprocess.run([sys.executable, "-m", "py_portable", "tags", release.wheel.parent, "any"], check=False)
    assert tags.returncode == 0


def test_the_same_commit_gives_the_same_bytes(release: Release, tmp_path: Path) -> None:
    """From another folder, under another umask, where a build has left things before."""
    root = tmp_path / "elsewhere"
    shutil.copytree(release.root, root, ignore=shutil.ignore_patterns("out"), symlinks=True)
    (root / "build" / "lib" / "py_portable").mkdir(parents=True)
    (root / "build" / "lib" / "py_portable" / "left.py").write_text("")
    script = (
        "import sys, pathlib; from release import wheels; root, work = map(pathlib.Path, sys.argv[1:]);"
        "wheels.make(root, work / 'out', work, wheels.epoch(root))"
    )
    words = [sys.executable, "-c", script, root, tmp_path]
    subprocess.run(words, cwd=root, umask=0o077, check=True)
    assert hashes(tmp_path / "out") == hashes(release.root / "release/out/publish")


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def tool(folder: Path, image: str) -> Path:
    """The app of the callers' examples, to be proven on `image`."""
    shutil.copytree(APP, folder)
    config = folder / "portable.yaml"
    config.write_text(config.read_text().replace("debian:12", image))
    return folder


def test_the_wheel_works_in_an_environment_of_its_own(release: Release, tmp_path: Path) -> None:
    """As pip installs it, with requirements by hash, outside of the repository; and with no compiler."""
    venv, project = tmp_path / "venv", tool(tmp_path / "app", "debian:11")
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--require-hashes", "-r", REPOSITORY / "requirements/kit.txt"], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", release.wheel], check=True)
    # A compiler that is started makes the command fail.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "musl-gcc").symlink_to("/bin/false")

    def ran(*words: str) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PY_PORTABLE"))}
        env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
        env["PY_PORTABLE_STORE"] = str(default_root(os.environ))
        done = subprocess.run([venv / "bin/py-portable", *words], cwd=project, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert ran("--version") == f"py-portable, version {__version__}\n"
    assert json.loads(ran("check", "--print-schema"))["$id"] == "urn:py-portable:portable:1"
    ran("build")
    assert "Success: tool passed on debian:11" in ran("portability")
    # Nor were they in the store already.
    script = "import sys; from py_portable.engines import static_helpers; from pathlib import Path; static_helpers.put(Path(sys.argv[1]))"
    environ = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    subprocess.run([venv / "bin/python", "-P", "-c", script, tmp_path / "helpers"], env=environ, check=True)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "helpers").iterdir()} == {0o755}


def test_the_bundle_is_brought_into_an_old_image_and_proves_there(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What GitLab's jobs do: the kit as its own bundle, in an image with neither Python nor compiler."""

    def compile(*words: object) -> None:
        raise AssertionError(words)

    monkeypatch.setattr(static_helpers, "compile", compile)
    digest = hashlib.sha256(release.bundle.read_bytes()).hexdigest()
    bring_command.bring(str(release.bundle), digest, tmp_path / "kit")
    project = tool(tmp_path / "app", "debian:11")
    words = [sys.executable, "-m", "py_portable", "build", "--engine", "native"]
    subprocess.run(words, cwd=project, check=True, capture_output=True)

    root = images.resolve("debian:11", store=Store(default_root(os.environ))).root
    with tempfile.TemporaryDirectory() as store:
        # As in a container: root has all its rights and all ids. Where an ordinary user runs the tests, there is one id.
        ids = ["--cap-add", "ALL"] if os.geteuid() == 0 else ["--unshare-user"]
        cell = ["bwrap", *ids, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
        # The root itself can be written to, and is gone afterwards.
        for path in (path for path in root.iterdir() if path.name not in ("dev", "proc", "srv", "tmp")):
            shown = f"/{path.name}"
            cell += ["--symlink", path.readlink(), shown] if path.is_symlink() else ["--ro-bind", path, shown]
        cell += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--dir", "/tmp"]
        cell += ["--ro-bind", tmp_path / "kit", "/srv/kit"]
        cell += ["--bind", project, "/srv/app", "--bind", store, "/srv/store", "--chdir", "/srv/app", "--clearenv"]
        cell += ["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp"]
        cell += ["--setenv", "PY_PORTABLE_STORE", "/srv/store", "--setenv", "PY_PORTABLE_ENGINE", "native"]

        def inside(*words: str) -> str:
            done = subprocess.run([*map(str, cell), *words], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        assert inside("sh", "-c", "! command -v python3 && ! command -v cc && echo neither") == "neither\n"
        assert inside("/srv/kit/py-portable", "--version") == f"py-portable, version {__version__}\n"
        told = inside("/srv/kit/py-portable", "portability", "--as-made")
        assert "Success: tool passed on debian:11" in told
        assert {path.name for path in Path(store).rglob("native-*") if path.is_dir()} == {static_helpers.key()}
    (made,) = json.loads((project / "dist/evidence.json").read_text())["cells"]
    assert (made["verdict"], made["isolation"], made["image"]) == ("PASS", "partial", "debian:11")
