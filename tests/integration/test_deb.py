"""Debian packages made of a folder: installed, started, upgraded, removed and purged by the images' own apt and dpkg."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from py_portable.engines import static_helpers
from tests.integration.conftest import Project, Ran
from tests.promises import tiny

pytestmark = pytest.mark.integration
IMAGES = ["debian:11", "debian:12", "debian:13"]
SOURCE = """
#include <stdio.h>
#include <unistd.h>
static void tell(const char *path) {
    char line[99];
    FILE *file = fopen(path, "r");
    fputs(file && fgets(line, sizeof line, file) ? line : "none\\n", stdout);
}
int main(void) { tell("/etc/tool/tool.conf"); tell("/var/lib/tool/state"); return access("/opt/tool/lib", W_OK) == 0; }
"""
PAGE = ".TH TOOL 1\n.SH NAME\ntool \\- a tool\n"
AFTER = '#!/bin/sh\nset -e\nmkdir -p /var/lib/tool\necho "state of ${2:-nothing}" >/var/lib/tool/state\n'
GONE = "#!/bin/sh\nset -e\nrm -rf /var/lib/tool\n"


def config(images: list[Any], **artifacts: Mapping[str, Any]) -> str:
    told = {
        "version": 1,
        "app": {"requirement": "tool==1", "script": "tool", "smoke": [{"args": []}]},
        "python": "3.13",
        "artifacts": artifacts,
        "portability": {"images": images},
    }
    return json.dumps(told, indent=1)


def folder(path: Path, *names: str) -> Path:
    """With a static program, and what is hard to write into a package."""
    (path / "lib").mkdir(parents=True)
    (path.parent / "tool.c").write_text(SOURCE)
    words = [*static_helpers.compiler(), "-static", "-o", path / names[0], path.parent / "tool.c"]
    subprocess.run(words, check=True)
    (path / "lib" / "w[ei]rd $HOME é*").write_text("text\n")
    (path / "lib" / "noise").write_bytes(random.Random(3).randbytes(1_000_000))
    (path / "lib" / "raised").write_text("x")
    (path / "lib" / "raised").chmod(0o770)
    (path / "lib" / "link").symlink_to("../lib/noise")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Ran]:
    """A package with all that one may have, proven on three images."""
    place = tmp_path_factory.mktemp("deb")
    folder(place / "tool", "tool")
    (place / "tool.conf").write_text("configured\n")
    (place / "after").write_text(AFTER)
    (place / "gone").write_text(GONE)
    (place / "tool.1").write_text(PAGE)
    (place / "completions").write_text("complete -W own tool\n")
    smoke = [{"args": [], "stdout": ["configured"]}]
    package = {
        "format": "deb",
        "from": "folder",
        "version": "2.0~rc1",
        "summary": "costs $5 or $HOME",
        "config-files": [{"path": "tool.conf", "to": "/etc/tool/tool.conf"}],
        "after-install": "after",
        "after-remove": "gone",
        "man": ["tool.1"],
        "completions": dict.fromkeys(("bash", "zsh", "fish"), "completions"),
        "smoke": smoke,
    }
    told = json.loads(config(IMAGES, folder={"format": "file", "path": "tool"}, package=package))
    told["portability"]["probes"] = ["read-only", "no-home"]
    (place / "portable.yaml").write_text(json.dumps(told, indent=1))
    project = Project(place)
    return project, project.run("portability")


def test_a_package_is_installed_started_upgraded_removed_and_purged(made: tuple[Project, Ran]) -> None:
    project, ran = made
    cells = project.cells(artifact="package")
    assert len(cells) == 9 and {cell["verdict"] for cell in cells} == {"PASS"}, ran.stdout + ran.stderr
    for cell in cells:
        assert cell["stdout_tail"] == "configured\nstate of nothing\n", "what is started is the installation"
        stages = [(one["stage"], one["status"]) for one in cell["stages"]]
        names = ["install", "upgrade", "remove", "purge"] if cell["condition"] == "plain" else ["install"]
        assert stages == [(name, "done") for name in names]
        assert [one["left"] + one["changed"] for one in cell["stages"]] == [[]] * len(names)


def test_its_bytes_are_the_same_every_time_and_say_what_it_is(made: tuple[Project, Ran], tmp_path: Path) -> None:
    project, _ = made
    (package,) = (project.folder / "dist" / "package").iterdir()
    assert package.name.startswith("tool_2.0~rc1-1_")
    told = subprocess.run(["dpkg-deb", "--info", package], check=True, capture_output=True, text=True).stdout
    assert " Version: 2.0~rc1-1\n" in told and " Description: costs $5 or $HOME\n" in told
    assert "Depends:" not in told, "a static program needs nothing"
    listed = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout
    modes = {line.split("./", 1)[1]: line.split()[0] for line in listed.splitlines()}
    assert modes["opt/tool/lib/raised"] == "-rwxr-xr-x"
    assert modes["usr/bin/tool -> /opt/tool/tool"][0] == "l" and modes["opt/tool/lib/link -> ../lib/noise"][0] == "l"
    assert any(name.startswith("opt/tool/lib/w[ei]rd $HOME ") for name in modes)
    assert (
        modes["usr/share/man/man1/tool.1.gz"] == modes["usr/share/fish/vendor_completions.d/tool.fish"] == "-rw-r--r--"
    )
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}
    with package.open("rb") as stream:
        assert b"data.tar.xz" in stream.read(2000), "the dpkg of Debian 11 does not read zstd"
    elsewhere = {"PY_PORTABLE_STORE": str(tmp_path / "store")}
    again = project.run("build", "package", "--dist", tmp_path / "again", env=elsewhere)
    assert again.status == 0, again.stderr
    assert (tmp_path / "again" / "package" / package.name).read_bytes() == package.read_bytes()


def test_another_machine_proves_what_was_built_here(made: tuple[Project, Ran], tmp_path: Path) -> None:
    project, _ = made
    built = project.run("build", "package", "--carry", "--dist", tmp_path)
    assert built.status == 0, built.stderr
    words = ("--as-made", "--dist", tmp_path, "--artifact", "package", "--image", "debian:12")
    ran = project.run("portability", *words)
    assert ran.status == 0 and "package passed on debian:12" in ran.stdout, ran.stdout + ran.stderr


def test_what_a_package_does_to_an_image_is_found(tmp_path: Path) -> None:
    """One run of packages that do something wrong, each in its way."""
    for program in ("tool", "cat", "dpkg"):
        folder(tmp_path / "folders" / program / program, program)
    scripts = {
        "leaves": "mkdir -p /var/lib/left; echo >/var/lib/left/file; echo more >>/etc/motd",
        "fails": "echo it is broken >&2; exit 3",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
    (tmp_path / "refuses").write_text('#!/bin/sh\n[ "$1" != upgrade ]\n')
    (tmp_path / "never").write_text('#!/bin/sh\n[ "$1" != remove ]\n')
    plain = {"format": "deb", "version": "1"}
    artifacts = {
        program: {"format": "file", "path": f"folders/{program}/{program}"} for program in ("tool", "cat", "dpkg")
    }
    artifacts = {f"in-{name}": {**each, "smoke": [{"args": []}]} for name, each in artifacts.items()}
    of_tool = {**plain, "from": "in-tool"}
    artifacts |= {
        "leaves": {**of_tool, "after-install": "leaves"},
        "fails": {**of_tool, "after-install": "fails"},
        "refuses": {**of_tool, "before-install": "refuses"},
        "never": {**of_tool, "before-remove": "never"},
        "needs": {**of_tool, "depends": ["libnothere1 (>= 2)"]},
        "cat": {**plain, "from": "in-cat"},
        "dpkg": {**plain, "from": "in-dpkg", "name": "own-dpkg"},
    }
    told = json.loads(config(["debian:12"], **artifacts))
    del told["app"]["script"]
    (tmp_path / "portable.yaml").write_text(json.dumps(told, indent=1))
    project = Project(tmp_path)
    wanted = [name for name in artifacts if not name.startswith("in-")]
    ran = project.run("portability", *(word for name in wanted for word in ("--artifact", name)))
    assert ran.status == 1, ran.stdout + ran.stderr
    seen = {cell["artifact"]: (cell["verdict"], cell["reason"], cell["detail"]) for cell in project.cells()}
    found = {name: (verdict, reason) for name, (verdict, reason, _) in seen.items()}
    assert found == {
        "leaves": ("FAIL", "residue"),
        "fails": ("FAIL", "install"),
        "refuses": ("FAIL", "upgrade"),
        "never": ("FAIL", "remove"),
        "needs": ("FAIL", "release"),
        # dpkg does not see that /usr/bin/cat is the /bin/cat of the distribution.
        "cat": ("FAIL", "residue"),
        "dpkg": ("FAIL", "install"),
    }, seen
    details = {name: detail for name, (_, _, detail) in seen.items()}
    assert details["leaves"] == (
        "its removal leaves: /var/lib/left, /var/lib/left/file and changes files of the image: /etc/motd"
    )
    assert "post-installation script subprocess returned error exit status 3" in details["fails"]
    assert "pre-installation script subprocess returned error exit status 1" in details["refuses"]
    assert "tool : Depends: libnothere1 (>= 2) but it is not installable" in details["needs"]
    assert details["cat"] == "its removal changes files of the image: /usr/bin/cat"
    assert "trying to overwrite '/usr/bin/dpkg', which is also in package dpkg" in details["dpkg"]


def test_what_it_depends_on_is_added_to_the_image_before(tmp_path: Path) -> None:
    """From the image's own repositories, as far as they have it: each release of Debian has another libffi."""
    folder(tmp_path / "tool", "tool")
    images = ["debian:11", {"image": "debian:12", "expect": "fail:release"}]
    package = {"format": "deb", "from": "folder", "version": "1", "depends": ["libffi7 (>= 3.3) | nothing", "libc6"]}
    told = json.loads(config(images, folder={"format": "file", "path": "tool"}, package=package))
    (tmp_path / "portable.yaml").write_text(json.dumps(told, indent=1))
    project = Project(tmp_path)
    ran = project.run("portability", "--artifact", "package")
    assert ran.status == 0, ran.stdout + ran.stderr
    old, new = project.cells()
    assert (old["verdict"], old["image"]) == ("PASS", "debian:11") and old["stages"][-1]["stage"] == "purge"
    assert [one.partition(" ")[0] for one in old["provided"]] == ["libc6", "libffi7"]
    assert (new["verdict"], new["reason"]) == ("XFAIL", "release")
    assert "tool : Depends: libffi7 (>= 3.3) but it is not installable" in new["detail"]
    # The image is still the one that the config names.
    plain = project.run("portability", "--artifact", "folder", "--image", "debian:11")
    assert plain.status == 0, plain.stdout + plain.stderr
    (bare,) = (cell for cell in project.cells(artifact="folder") if cell["image"] == "debian:11")
    assert bare["image_identity"] == old["image_identity"] and "provided" not in bare


def test_on_an_image_of_another_family_it_is_not_applicable(tmp_path: Path) -> None:
    folder(tmp_path / "tool", "tool")
    tiny.image(tmp_path / "other.tar", {"etc/passwd": b"root:x:0:0::/:/none\n"})
    artifacts = {
        "folder": {"format": "file", "path": "tool"},
        "package": {"format": "deb", "from": "folder", "version": "1"},
    }
    (tmp_path / "portable.yaml").write_text(config([f"docker-archive:{tmp_path}/other.tar"], **artifacts))
    project = Project(tmp_path)
    project.run("portability", "--artifact", "package")
    (cell,) = project.cells()
    assert (cell["verdict"], cell["reason"]) == ("NOT-APPLICABLE", None), cell
    assert cell["detail"] == "the image has no dpkg: its packages are of another kind"


@pytest.mark.parametrize(
    ("package", "image"),
    [("deb", "debian:12"), ("rpm", {"image": "debian:12", "packages": ["dnf", "rpm"]})],
    ids=["deb", "rpm"],
)
def test_on_a_full_disk_nothing_is_called_proven(tmp_path: Path, package: str, image: Any) -> None:
    """The work folder of the store has room for the package and not for its files."""
    if os.geteuid():
        pytest.skip("needs root, to mount a small file system")
    folder(tmp_path / "tool", "tool")
    (tmp_path / "tool" / "lib" / "large").write_bytes(os.urandom(20 << 20))
    artifacts = {
        "folder": {"format": "file", "path": "tool"},
        "package": {"format": package, "from": "folder", "version": "1"},
    }
    (tmp_path / "portable.yaml").write_text(config([image], **artifacts))
    project = Project(tmp_path)
    words = ["portability", "--artifact", "package", "--engine", "bubblewrap"]
    assert project.run("build", "package").status == 0
    store = os.environ.get("PY_PORTABLE_STORE") or str(Path.home() / ".cache" / "py-portable")
    script = 'mount -t tmpfs -o size=34m none "$1/tmp" && shift && exec "$@"'
    command = [sys.executable, "-m", "py_portable", *words]
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", store, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    (cell,) = project.cells()
    # The machine is to blame, and not the package.
    assert (cell["verdict"], cell["reason"], cell["install"]) == ("UNPROVEN", "engine", None), cell
    assert "No space left on device" in cell["detail"], cell
    # Nothing of that is remembered.
    assert project.run(*words).status == 0


def test_a_name_that_no_package_may_have_is_an_error_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    artifacts = {
        "folder": {"format": "file", "path": "tool"},
        "package": {"format": "deb", "from": "folder", "name": "My Tool", "version": "1"},
    }
    (tmp_path / "portable.yaml").write_text(config(IMAGES, **artifacts))
    ran = Project(tmp_path).run("check")
    assert ran.status == 2
    assert '"My Tool" cannot be the name of a Debian package' in ran.stderr and 'use "my-tool"' in ran.stderr
