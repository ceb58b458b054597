"""The command line as a user meets it: a process, its exit status, its two streams. Nothing is built from source."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from py_portable import formats
from py_portable.lock.index.offers import LockedFile
from py_portable.lock.lockfile import Lock, LockedHouse, LockedPackage, dumps, loads
from py_portable.lock.markers import ResolveTarget
from py_portable.lock.resolve import Resolver
from py_portable.plan.assemble import assemble
from py_portable.plan.ground import full_version, target
from py_portable.steps.graph import ImageNode
from py_portable.store import Store
from tests.unit import warm
from tests.unit.askers import Answers

SECONDS = 60.0
HELD: dict[str, Any] = {
    "version": 1,
    "app": {"requirement": "aaa", "script": "aaa"},
    "python": "3.13",
    "baselines": {"default": {"image": "debian:11"}},
    "artifacts": {"wheels": {"format": "wheelhouse"}, "folder": {"format": "nuitka-standalone"}},
    "portability": {
        "images": ["debian:11", "debian:13"],
        "probes": ["no-home"],
        "controls": ["built-too-new"],
    },
}
ELSEWHERE = HELD | {"artifacts": {"made": {"format": "file", "path": "made"}}}
del ELSEWHERE["baselines"]


class House:
    """A folder with a config, a home and a store of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        (base / "home").mkdir()
        kept = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR")
        self.environ = {name: os.environ[name] for name in kept if name in os.environ}
        if "PYTHONPATH" in self.environ:
            parts = self.environ["PYTHONPATH"].split(os.pathsep)
            self.environ["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts)
        self.environ |= {
            "HOME": str(base / "home"),
            "XDG_CONFIG_HOME": str(base / "home"),
            "XDG_CONFIG_DIRS": str(base / "home"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PY_PORTABLE_STORE": str(base / "store"),
        }

    def write(self, told: Any, name: str = "portable.yaml") -> None:
        (self.base / name).write_text(told if isinstance(told, str) else json.dumps(told))

    def argv(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "py_portable", *map(str, words)]

    def run(self, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """In a process that has imported the kit already."""
        done = warm.run([str(word) for word in words], self.base, self.environ | environ)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """As a user does it."""
        done = subprocess.run(
            self.argv(*words),
            cwd=self.base,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def lock(self) -> None:
        """A lock that fits the config, as a resolution would have left it."""
        config = formats.load_config(self.base / "portable.yaml")
        whole = ResolveTarget(**target(config, "default", "3.13"), full=full_version(config, "3.13"))
        resolver = Resolver(config, Store(self.base / "store"), whole, self.environ, Answers())
        packages = (
            LockedPackage(LockedFile("aaa", "1.0", "aaa-1.0.tar.gz", "0" * 64, 1)),
            LockedPackage(LockedFile("bbb", "1.0", "bbb-1.0-py3-none-any.whl", "1" * 64, 1)),
        )
        lock = Lock(houses={"default/3.13": LockedHouse(resolver.inputs(), packages)})
        names = [str(node.name) for node in assemble(config, lock).nodes.values() if isinstance(node, ImageNode)]
        self.write(dumps(lock.with_images(dict.fromkeys(names, f"sha256:{'2' * 64}"))), "portable.lock")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def first(text: str) -> str:
    return text.splitlines()[0] if text else ""


# ------------------------------------------------------------------------------------------ exit status 2


def test_no_config_is_status_2_and_says_what_to_do(house: House) -> None:
    for command in ("check", "plan", "build", "portability", "lock"):
        done = house.start(command)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "Error: portable.yaml: there is no such file\n  next: run: py-portable init\n"


@pytest.mark.parametrize(
    ("text", "where"),
    [("", "portable.yaml"), ("version: 2\n", "portable.yaml:1:"), ("a: b: c\n", "portable.yaml:1:")],
)
def test_a_wrong_config_is_status_2_with_its_place(house: House, text: str, where: str) -> None:
    house.write(text)
    done = house.run("build")
    assert (done.returncode, done.stdout) == (2, "")
    assert first(done.stderr).startswith(f"Error: {where}")


def test_a_config_that_is_a_folder_or_binary_is_status_2(house: House) -> None:
    (house.base / "x").write_bytes(os.urandom(500) + b"\xff")
    for name in ("x", "home"):
        assert house.run("check", "--config", name).returncode == 2


def test_a_wrong_lock_is_status_2(house: House) -> None:
    house.write(HELD)
    house.write("{", "portable.lock")
    done = house.run("plan")
    assert (done.returncode, first(done.stderr)) == (2, "Error: portable.lock:1:2: is not JSON")


def test_an_unknown_artifact_is_named_with_those_there_are(house: House) -> None:
    house.write(HELD)
    house.lock()
    for command in (["plan", "foldr"], ["build", "foldr"], ["portability", "--artifact", "foldr"]):
        done = house.run(*command)
        assert done.returncode == 2, done.stderr
        assert re.match(r"Error: portable\.yaml:\d+:\d+: no artifact is named foldr$", first(done.stderr))
        assert "next: there are: wheels, folder" in done.stderr


def test_an_unknown_image_is_named_with_those_there_are(house: House) -> None:
    house.write(HELD)
    done = house.run("portability", "--image", "debian:99")
    assert done.returncode == 2
    assert "no image is named debian:99" in done.stderr
    assert "debian:11, debian:13" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bild"], "bild"),
        (["build", "--frobnicate"], "--frobnicate"),
        (
            ["portability", "--probes", "no-hom"],
            "there is no probe named 'no-hom'; there are: read-only, no-home, no-passwd",
        ),
        (["portability", "--probes", "plain"], "there is no probe named 'plain'"),
        (["prove", "x"], "--image"),
        (["prove", "x", "--image", "debian:11", "--expect", "maybe"], "expected pass or fail:REASON"),
        (["prove", "x", "--image", "debian:11", "--expect", "fail:"], "expected pass or fail:REASON"),
        (["prove", "x", "--image", "debian:11", "--timeout", "nan"], "expected seconds"),
        (["prove", "x", "--image", "debian:11", "--timeout", "-1"], "expected seconds"),
        (["prove", "x", "--image", "debian:11", "--exit", "zero"], "zero"),
        (["prove", "nothing-here", "--image", "debian:11"], "nothing-here: there is no such file or folder"),
        (["prove", "home", "--image", "debian:11"], "the folder has no executable 'home'"),
        (["prove", "/dev/null", "--image", "debian:11"], "is neither a file nor the folder"),
        (["prove", "plain.txt", "--image", "debian:11"], "plain.txt: is not executable"),
        (["merge", "nothing-here"], "nothing-here: cannot be read"),
        (["merge", "plain.txt"], "plain.txt:1:1: is not JSON"),
        (["merge"], "FILES"),
        (["tags", "nothing-here", "manylinux_2_28_x86_64"], "nothing-here"),
        (["gc", "--keep-days", "soon"], "soon"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_status_2(house: House, words: list[str], said: str) -> None:
    house.write(HELD)
    house.write("text", "plain.txt")
    done = house.run(*words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr + done.stdout


def test_an_unknown_engine_is_status_2(house: House) -> None:
    program = house.base / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    done = house.run("prove", program, "--image", "no-such-image:1", "--engine", "dockr")
    assert done.returncode == 2, done.stderr
    assert "there is no engine named dockr" in done.stderr


def test_locked_refuses_what_would_have_to_be_made_and_writes_nothing(house: House) -> None:
    house.write(HELD)
    done = house.run("plan", "--locked")
    assert (done.returncode, first(done.stderr)) == (2, "Error: portable.lock: has nothing for default/3.13")
    assert not (house.base / "portable.lock").exists()
    house.lock()
    house.write(HELD | {"app": {"requirement": "aaa==2"}})
    before = (house.base / "portable.lock").read_bytes()
    done = house.run("plan", "--locked")
    assert (done.returncode, first(done.stderr)) == (
        2,
        "Error: portable.lock: is out of date for default/3.13",
    )
    assert house.run("check", "--locked").returncode == 2
    assert house.run("check").returncode == 0
    assert (house.base / "portable.lock").read_bytes() == before


# --------------------------------------------------------------------------------------- other statuses


def test_help_version_and_schema_are_status_0(house: House) -> None:
    assert "0    everything is as expected" in house.start("--help").stdout
    assert re.fullmatch(r"py-portable, version \S+\n", house.start("--version").stdout)
    assert json.loads(house.start("check", "--print-schema").stdout)["$schema"]


def test_init_writes_a_config_that_is_valid_and_replaces_none(house: House) -> None:
    house.write('[project]\nname = "x"\nversion = "1"\n[project.scripts]\nx = "x:main"\n', "pyproject.toml")
    assert house.run("init").returncode == 0
    assert house.run("check").returncode == 0
    house.write("mine")
    done = house.run("init")
    assert (done.returncode, (house.base / "portable.yaml").read_text()) == (2, "mine")
    assert house.run("init", "--force").returncode == 0


def test_check_runs_no_build_backend_and_says_that_it_cannot_know(house: House) -> None:
    text = '[project]\nname = "x"\nversion = "1"\ndynamic = ["dependencies"]\n'
    (house.base / "app").mkdir()
    house.write(text, "app/pyproject.toml")
    house.write(HELD | {"app": {"source": "app"}})
    config = formats.load_config(house.base / "portable.yaml")
    whole = ResolveTarget(**target(config, "default", "3.13"), full=full_version(config, "3.13"))
    resolver = Resolver(config, Store(house.base / "store"), whole, house.environ, Answers())
    house.write(dumps(Lock(houses={"default/3.13": LockedHouse("x", (), seen=resolver.app.seen())})), "portable.lock")
    assert "portable.lock: up to date" in house.run("check", "--locked").stdout
    house.write("raise SystemExit", "app/setup.py")
    done = house.run("check")
    assert "may be out of date: x has changed, and only its build backend knows" in done.stdout
    assert (done.returncode, house.run("check", "--locked").returncode) == (0, 2)


def test_check_refuses_a_python_that_no_pin_and_no_image_brings(house: House) -> None:
    house.write("""version: 1
app: {requirement: aaa}
python: "3.12"
artifacts: [wheelhouse]
""")
    done = house.run("check")
    assert done.returncode == 2
    assert first(done.stderr).startswith("Error: portable.yaml:3:9: no CPython 3.12 is pinned; there are: 3.11, 3.13")
    assert "interpreter: {provider: manylinux}" in done.stderr


def test_a_folder_that_cannot_be_written_is_status_3_without_a_traceback(house: House) -> None:
    house.write(ELSEWHERE)
    house.write("x", "made")
    done = house.run("build", "--dist", "made/dist")
    assert done.returncode == 3, done.stderr
    assert "made/dist" in done.stderr


def test_a_store_that_is_a_file_is_an_error_that_names_it(house: House) -> None:
    house.write(ELSEWHERE)
    house.write("x", "made")
    done = house.run("build", PY_PORTABLE_STORE=str(house.base / "made"))
    assert done.returncode in (2, 3, 4)
    assert str(house.base / "made") in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_status_130(house: House, number: int) -> None:
    house.write(HELD)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        environ = house.environ | {"PIP_INDEX_URL": f"http://127.0.0.1:{server.getsockname()[1]}/simple"}
        del environ["PIP_NO_INDEX"]
        with subprocess.Popen(
            house.argv("lock"),
            cwd=house.base,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as child:
            # The resolver asks, and nobody ever answers.
            connection, _ = server.accept()
            child.send_signal(number)
            out, said = child.communicate(timeout=SECONDS)
        connection.settimeout(SECONDS)
        while connection.recv(4096):
            pass  # until its end: who asked is gone
        connection.close()
    assert (child.returncode, out) == (130, "")
    assert said.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in said
    assert not (house.base / "portable.lock").exists()


def test_a_reader_that_went_away_is_no_defect(house: House) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" | true; exit "$?"', "sh", *house.argv("check", "--print-schema")],
        env=house.environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


def test_a_terminal_of_another_encoding_is_no_defect(house: House) -> None:
    house.write(HELD)
    house.lock()
    done = house.start("lock", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "1 to compile" in done.stdout
    assert f"baseline default: sha256:{'2' * 64}" in done.stdout
    assert "sha256:0000000000000000\\u2026" in done.stdout


# ------------------------------------------------------------------------------------------------- JSON


def test_the_plan_as_a_table_and_as_json(house: House) -> None:
    house.write(HELD)
    house.lock()
    done = house.run("plan", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"steps", "left_out", "ended"}
    assert all(set(one) == {"name", "needs", "kind"} for one in told["steps"])
    seen: set[str] = set()
    for one in told["steps"]:
        assert set(one["needs"]) <= seen
        seen.add(one["name"])
    assert {"artifact wheels", "artifact folder", "image debian:13", "control built-too-new folder"} <= seen
    shown = house.run("plan", "wheels").stdout
    assert "1 artifacts x 2 images x 2 conditions = 4 cells, 0 more for controls" in shown
    assert "left out: folder: not asked for" in shown
    assert "left out: control built-too-new: it is a variant of folder, which is not asked for" in shown


def test_a_lock_that_fits_asks_nobody_and_is_left_as_it_is(house: House) -> None:
    house.write(HELD)
    house.lock()
    assert house.run("plan").returncode == 0
    lock = loads((house.base / "portable.lock").read_text(), "portable.lock")
    before = (house.base / "portable.lock").stat()
    assert house.run("plan").returncode == 0
    after = (house.base / "portable.lock").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "default/3.13" in lock.houses


def test_what_is_made_elsewhere_is_measured_and_told(house: House) -> None:
    house.write(ELSEWHERE)
    house.write("#!/bin/sh\necho hello\n", "made")
    done = house.run("build", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["format"], row["bytes"], row["measured_floor"]) == ("made", "file", 21, None)
    assert row["sha256"].startswith("sha256:")
    evidence = json.loads((house.base / "dist" / "evidence.json").read_text())
    assert evidence["artifacts"] == [row]
    assert "conclusions" not in evidence
    shown = house.run("build")
    assert shown.returncode == 0
    assert "made" in shown.stdout


def test_evidence_speaks_of_what_is_there_now(house: House) -> None:
    house.write(ELSEWHERE)
    house.write("one", "made")
    assert house.run("build").returncode == 0
    path = house.base / "dist" / "evidence.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"conclusions": {"verdict": "PASS"}}))
    assert house.run("build").returncode == 0
    assert json.loads(path.read_text())["conclusions"] == {"verdict": "PASS"}
    house.write("two", "made")
    assert house.run("build").returncode == 0
    new = json.loads(path.read_text())
    assert new["artifacts"][0]["sha256"] != told["artifacts"][0]["sha256"]
    assert "conclusions" not in new


def test_an_artifact_that_is_not_there_is_an_error_of_its_own(house: House) -> None:
    house.write(ELSEWHERE)
    done = house.run("build")
    assert done.returncode != 0
    assert f"there is no {house.base}/made" in done.stderr


def cell(**changes: Any) -> dict[str, Any]:
    return {
        "artifact": "a",
        "sha256": f"sha256:{1:064}",
        "image": "debian:11",
        "image_identity": f"sha256:{3:064}",
        "image_glibc": "2.31",
        "condition": "plain",
        "argv": ["run"],
        "expect": "pass",
        "verdict": "PASS",
        "reason": None,
        "detail": None,
        "exit_status": 0,
    } | changes


def part(*cells: dict[str, Any], when: str = "2026-01-01") -> dict[str, Any]:
    artifacts = [{"name": "a", "sha256": f"sha256:{1:064}", "measured_floor": "2.28"}]
    return {"schema": 1, "when": when, "artifacts": artifacts, "cells": list(cells)}


def test_merge_concludes_from_the_shards_in_any_order(house: House) -> None:
    house.write(part(cell()), "one.json")
    house.write(part(cell(image="debian:12", image_glibc="2.36"), when="2026-01-02"), "two.json")
    done = house.run("merge", "one.json", "two.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["conclusions"]["proven_floor"] == {"a": "2.31"}
    assert house.run("merge", "two.json", "one.json").stdout == done.stdout
    assert house.run("merge", "two.json", "one.json", "-o", "merged.json").stdout == ""
    again = house.run("merge", "merged.json")
    assert json.loads(again.stdout) == json.loads(done.stdout)


def test_merge_is_status_1_where_something_does_not_hold_and_shows_no_escape_codes(house: House) -> None:
    failed = cell(condition="no-home", verdict="FAIL", reason="output", detail="bad\x1b[2J\u202e")
    house.write(part(cell(), failed), "one.json")
    done = house.run("merge", "one.json")
    assert done.returncode == 1
    assert done.stderr == "a on debian:11 (no-home): FAIL: bad\\x1b[2J\\u202e\n"


def test_lock_says_which_images_it_could_not_lock(house: House) -> None:
    house.write(HELD | {"portability": {"images": ["localhost:1/nothing:1"]}})
    house.lock()
    told = json.loads((house.base / "portable.lock").read_text())
    del told["images"]["image localhost:1/nothing:1"]
    house.write(told, "portable.lock")
    done = house.run("lock")
    assert done.returncode == 0, done.stderr
    assert "image localhost:1/nothing:1 is not locked: " in done.stderr


def test_merge_refuses_an_image_of_two_identities(house: House) -> None:
    house.write(part(cell()), "one.json")
    house.write(part(cell(condition="no-home", image_identity=f"sha256:{2:064}")), "two.json")
    done = house.run("merge", "one.json", "two.json")
    assert done.returncode == 2
    assert "debian:11 has two identities" in done.stderr


def test_credentials_of_the_index_are_in_nothing_that_is_shown_or_kept(house: House) -> None:
    house.write(HELD)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # not listening: refused at once
        url = f"http://user:s3cr@t@127.0.0.1:{nobody.getsockname()[1]}/simple"
        environ = {"PIP_INDEX_URL": url, "PIP_NO_INDEX": "", "UV_HTTP_RETRIES": "0"}
        done = house.run("lock", "-v", **environ)
    assert done.returncode == 4, done.stderr
    assert "the requirements cannot be resolved" in done.stderr
    assert "s3cr" not in done.stdout + done.stderr
    for path in house.base.rglob("*"):
        if path.is_file():
            assert b"s3cr" not in path.read_bytes(), path


def test_the_command_line_imports_no_room_before_a_command_needs_it(house: House) -> None:
    code = "import sys, py_portable.cli; print(*(m for m in ('jsonschema', 'uv', 'rich') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=house.environ, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
