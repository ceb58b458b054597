"""RPM packages made of a folder: installed, started, upgraded and removed by the real dnf and rpm, in an image of Debian."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Project
from tests.integration.test_deb import PAGE, config, folder

pytestmark = pytest.mark.integration
IMAGE = {"image": "debian:12", "packages": ["dnf", "rpm"]}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, dict[str, Any]], str]:
    """One run of a good package, and of some that are not."""
    place = tmp_path_factory.mktemp("rpm")
    folder(place / "tool", "tool")
    folder(place / "cat", "cat")
    (place / "tool.conf").write_text("configured\n")
    (place / "after").write_text('mkdir -p /var/lib/tool; echo "state of $1" >/var/lib/tool/state\n')
    (place / "gone").write_text('[ "$1" != 0 ] || rm -rf /var/lib/tool\n')
    (place / "fails").write_text("exit 3\n")
    (place / "tool.1").write_text(PAGE)
    (place / "completions").write_text("complete -W own tool\n")
    plain = {"format": "rpm", "from": "folder", "version": "2.0~rc1"}
    good = {
        **plain,
        "config-files": [{"path": "tool.conf", "to": "/etc/tool/tool.conf"}],
        "after-install": "after",
        "after-remove": "gone",
        "man": ["tool.1"],
        "completions": dict.fromkeys(("bash", "zsh", "fish"), "completions"),
        "smoke": [{"args": [], "stdout": ["configured"]}],
    }
    artifacts = {
        "folder": {"format": "file", "path": "tool"},
        "other": {"format": "file", "path": "cat", "smoke": [{"args": []}]},
        "package": good,
        "leaves": {**plain, "after-install": "after"},
        "fails": {**plain, "before-install": "fails"},
        # dnf goes on after it, and says that all is well.
        "half": {**plain, "after-install": "fails"},
        "needs": {**plain, "depends": ["libnothere >= 2"]},
        # Debian's rpm does not know that the distribution has such a program.
        "cat": {**plain, "from": "other", "name": "own-cat"},
    }
    told = json.loads(config([IMAGE], **artifacts))
    del told["app"]["script"]
    told["portability"]["probes"] = ["read-only"]
    (place / "portable.yaml").write_text(json.dumps(told, indent=1))
    project = Project(place)
    wanted = [word for name in artifacts if name not in ("folder", "other") for word in ("--artifact", name)]
    ran = project.run("portability", *wanted)
    plain_cells = {cell["artifact"]: cell for cell in project.cells(condition="plain")}
    return project, plain_cells, ran.stdout + ran.stderr


def test_a_package_is_installed_started_upgraded_and_removed(
    seen: tuple[Project, dict[str, dict[str, Any]], str],
) -> None:
    project, cells, said = seen
    assert {cell["verdict"] for cell in project.cells(artifact="package")} == {"PASS"}, said
    assert cells["package"]["stdout_tail"] == "configured\nstate of 1\n"
    stages = cells["package"]["stages"]
    assert [(one["stage"], one["status"]) for one in stages] == [
        (name, "done") for name in ("install", "upgrade", "remove")
    ]
    assert [one["left"] + one["changed"] for one in stages] == [[]] * 3


def test_a_package_that_fails_has_a_reason_and_the_words_of_the_package_manager(
    seen: tuple[Project, dict[str, dict[str, Any]], str],
) -> None:
    _, cells, said = seen
    found = {name: (cell["verdict"], cell["reason"]) for name, cell in cells.items() if name != "package"}
    assert found == {
        "leaves": ("FAIL", "residue"),
        "fails": ("FAIL", "install"),
        "half": ("FAIL", "install"),
        "cat": ("FAIL", "residue"),
        "needs": ("FAIL", "install"),
    }, said
    assert cells["leaves"]["detail"] == "its removal leaves: /var/lib/tool, /var/lib/tool/state"
    assert cells["cat"]["detail"] == "its removal changes files of the image: /usr/bin/cat"
    assert "Error in POSTIN scriptlet in rpm package tool" in cells["half"]["detail"]
    assert "nothing provides libnothere >= 2 needed by tool-2.0~rc1-1" in cells["needs"]["detail"]


def test_its_bytes_are_the_same_every_time(
    seen: tuple[Project, dict[str, dict[str, Any]], str], tmp_path: Path
) -> None:
    project, _, _ = seen
    (package,) = (project.folder / "dist" / "package").iterdir()
    assert package.name.startswith("tool-2.0~rc1-1.")
    words = ("build", "package", "--dist", tmp_path / "again")
    again = project.run(*words, env={"PY_PORTABLE_STORE": str(tmp_path / "store")})
    assert again.status == 0, again.stderr
    assert (tmp_path / "again" / "package" / package.name).read_bytes() == package.read_bytes()
