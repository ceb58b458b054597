"""What an app sees of how it was packed: every format against `python -m`, in cells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from py_portable.benchmark.subjects import Workshop, pairings
from py_portable.benchmark.turns import Place, Subject
from py_portable.engines.engine import Bind
from py_portable.engines.static_helpers.stored import helpers
from py_portable.formats import runtime
from py_portable.formats.runtime import packer, squash_packer, squashfs
from py_portable.plan.assemble import image_node
from py_portable.plan.selection import Selection
from py_portable.project import building
from py_portable.project.session import open_session
from py_portable.prove.conditions import PLAIN
from py_portable.prove.frozen import Freezer
from py_portable.prove.start import start
from tests.conftest import NIGHTLY
from tests.integration import rust
from tests.integration.rust import needs_rust

pytestmark = pytest.mark.integration

IMAGE = "debian:12"
COMPARED = ("nuitka-standalone", "nuitka-onefile", "pyoxidizer", "bundle", "onefile", "appimage", "pex")
"""The formats that are compared; the app's config has an artifact named after each."""
BY_NUITKA = ("nuitka-standalone", "nuitka-onefile", "onefile")
"""The onefile is made from the folder that Nuitka compiled, the AppImage from the bundle."""
UNPACKED_ONCE = ("onefile", "appimage")
MARKS = {"nuitka-onefile": [pytest.mark.nightly], "pyoxidizer": [pytest.mark.nightly, needs_rust]}
NAMES = [pytest.param(name, marks=MARKS.get(name, [])) for name in COMPARED]
MADE = [name for name in COMPARED if (NIGHTLY or name not in MARKS) and (rust.THERE or name != "pyoxidizer")]


@dataclass(frozen=True)
class Said:
    status: int | None
    stdout: str
    stderr: str = field(compare=False)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


@dataclass(frozen=True)
class House:
    place: Place
    subjects: dict[str, Subject]
    references: dict[str, Subject]
    """`python -m` by the interpreter that each of them was made with."""
    starts: dict[str, list[str]]
    """The starts of each that a benchmark measures."""
    _expected: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Said] = field(default_factory=dict)

    def say(self, who: str, *words: str, before: tuple[str, ...] = ()) -> Said:
        """`before`: a program of the image that starts the app, with its arguments."""
        return self.started(self.subjects[who], words, before)

    def expected(self, who: str, *words: str, before: tuple[str, ...] = ()) -> Said:
        key = (self.references[who].name, words, before)
        if key not in self._expected:
            self._expected[key] = self.started(self.references[who], words, before)
        return self._expected[key]

    def folder(self, who: str) -> str:
        """Where the program lies."""
        return str(Path(self.subjects[who].argv[0]).parent)

    def started(self, subject: Subject, words: tuple[str, ...], before: tuple[str, ...] = ()) -> Said:
        argv = (*before, *subject.argv, *words)
        started = start(
            self.place.engine, self.place.root, PLAIN, argv, subject.binds, self.place.helpers, 120, account=()
        )
        assert started.record is not None and started.record.reached, started.trouble
        return Said(started.record.status, started.stdout.text, started.stderr.text)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The probe app, built once in every format, and its wheelhouses in their bare interpreters."""
    app = tmp_path_factory.mktemp("parity") / "app"
    shutil.copytree(Path(__file__).parent / "parity_app", app)
    session = open_session(app / "portable.yaml")
    built = building.build(session, Selection(tuple(MADE), (IMAGE,), controls=False), starts=True)
    assert not built.failures, built.failures
    image = built.report.images[image_node(IMAGE)]
    place = Place(session.engine.chosen[0], image.root, helpers(session.store), ())
    with ExitStack() as stack:
        room = stack.enter_context(session.store.scratch("parity"))
        room.chmod(0o755)
        shop = Workshop(session, place, image, room, Freezer(session.store, stack))
        made = pairings(shop, built, ("output",))
        pairs = {p.subject.name: p for p in made if not p.same}
        subjects = {name: _bare(p.subject) for name, p in pairs.items()}
        starts: dict[str, list[str]] = {}
        for one in made:
            starts.setdefault(one.subject.name, []).append(one.subject.start)
        yield House(place, subjects, {name: _bare(p.reference) for name, p in pairs.items()}, starts)


def _bare(subject: Subject) -> Subject:
    return Subject(subject.name, subject.argv[:-1], subject.binds)


ONCE_IT_WAITS = """
$| = 1;
my $signal = shift;
my $pid = open(my $output, "-|", @ARGV) or die;
while (<$output>) { print; kill $signal, $pid if /^waiting$/; }
close $output;
exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
"""
WAIT = ("/usr/bin/perl", "-e", ONCE_IT_WAITS)
"""Send it the signal as soon as it says that it waits, however long its start takes; the status is as sh has it."""
ALIKE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "output": (("output",), ()),
    "exit status 0": (("leave", "0"), ()),
    "exit status 3": (("leave", "3"), ()),
    "SystemExit with a text": (("leave-text",), ()),
    "uncaught exception": (("fail",), ()),
    "version": (("version",), ()),
    "entry points": (("plugins",), ()),
    "package data": (("data",), ()),
    "pool, spawn": (("pool", "spawn"), ()),
    "pool, fork": (("pool", "fork"), ()),
    "pool, forkserver": (("pool", "forkserver"), ()),
    "process, spawn": (("process", "spawn"), ()),
    "process, fork": (("process", "fork"), ()),
    "subprocess": (("child",), ()),
    "signal handlers": (("handlers",), ()),
    "SIGTERM from outside": (("wait", "plain"), (*WAIT, "TERM")),
    "SIGINT from outside": (("wait", "plain"), (*WAIT, "INT")),
    "SIGTERM handled": (("wait", "handled"), (*WAIT, "TERM")),
    "SIGINT handled": (("wait", "handled"), (*WAIT, "INT")),
    "SIGTERM of its own": (("own-signal", "15"), ()),
    "SIGINT of its own": (("own-signal", "2"), ()),
    "stdin closed": (("streams",), ("/bin/sh", "-c", 'exec "$0" "$@" <&-')),
    "stdout closed": (("streams",), ("/bin/sh", "-c", 'exec "$0" "$@" >&-')),
    "output to a closed stdout": (("output",), ("/bin/sh", "-c", 'exec "$0" "$@" >&-')),
    "encoding without LANG": (("encoding",), ()),
    "encoding, C.UTF-8": (("encoding",), ("/usr/bin/env", "LC_ALL=C.UTF-8")),
    "encoding, POSIX": (("encoding",), ("/usr/bin/env", "LC_ALL=POSIX")),
    "encoding, PYTHONUTF8=0": (("encoding",), ("/usr/bin/env", "PYTHONUTF8=0")),
    "environment": (("environment",), ()),
}
"""What is as with `python -m`, but for OTHERWISE: the app's words, and what in the image starts it."""

SHARED_BY_NUITKA = {
    "encoding without LANG": Said(0, "utf-8 surrogateescape backslashreplace utf-8\nutf-8 1 None\ngröße\n", ""),
    "environment": Said(0, "\n", ""),
    "encoding, PYTHONUTF8=0": Said(0, "utf-8 surrogateescape backslashreplace utf-8\nutf-8 1 None\ngröße\n", ""),
    "SIGINT of its own": Said(130, "", ""),
    "stdin closed": Said(0, "[False, False, False]\n", ""),
}
NO_PYTHON_VARIABLES = {
    "encoding, PYTHONUTF8=0": Said(0, "utf-8 surrogateescape backslashreplace utf-8\nutf-8 1 C.UTF-8\ngröße\n", ""),
}
OTHERWISE: dict[str, dict[str, Said]] = {
    "nuitka-standalone": SHARED_BY_NUITKA,
    # Its first process waits for the one that it unpacked, and ends with a status, not by a signal.
    "nuitka-onefile": {
        **SHARED_BY_NUITKA,
        "SIGTERM of its own": Said(143, "", ""),
        # What its first process gets as SIGTERM, it hands on as SIGINT.
        "SIGTERM from outside": Said(130, "waiting\n", ""),
        "SIGTERM handled": Said(10, "waiting\n", ""),
    },
    # Rust opens what is closed of the first three descriptors before anything else runs.
    "pyoxidizer": {"stdin closed": Said(0, "[False, False, False]\n", ""), **NO_PYTHON_VARIABLES},
    "bundle": NO_PYTHON_VARIABLES,
    # Nothing of them is between the user and the folder that they were made from.
    "onefile": SHARED_BY_NUITKA,
    "appimage": NO_PYTHON_VARIABLES,
    # Two Pythons are started one after the other, and the second one finds the locale that the first one has set.
    "pex": {
        "encoding without LANG": Said(0, "utf-8 surrogateescape backslashreplace utf-8\nUTF-8 0 C.UTF-8\ngröße\n", "")
    },
}
"""What differs by nature: docs/formats/NAME.md, "What differs from `python -m`"."""
HIDDEN_DATA = ("bytes.bin",)
"""Suffixes that Nuitka takes for programs, and leaves out of package data."""


def test_the_formats_of_the_config_are_those_compared(house: House) -> None:
    assert set(house.subjects) == set(MADE)
    pythons = {name: "python3.11" if name == "pyoxidizer" else "python3.13" for name in MADE}
    assert {name: house.references[name].name for name in MADE} == {
        name: f"{python} -m parity_app.cli" for name, python in pythons.items()
    }


def test_what_keeps_something_between_starts_is_measured_at_its_first_and_at_later_ones(house: House) -> None:
    """A pex finds the Python of its reference there, whatever the image has."""
    twice = {name for name, starts in house.starts.items() if starts == ["first", "later"]}
    assert twice == {"onefile", "appimage", "pex"}
    assert all(starts == ["later"] for name, starts in house.starts.items() if name not in twice)


@pytest.mark.parametrize("case", ALIKE)
@pytest.mark.parametrize("name", NAMES)
def test_as_with_python_m(house: House, name: str, case: str) -> None:
    words, before = ALIKE[case]
    expected = house.expected(name, *words, before=before)
    assert expected.status is not None
    if case == "package data" and name in BY_NUITKA:
        kept = [line for line in expected.lines if not any(ascii(n) in line for n in HIDDEN_DATA)]
        assert len(kept) == len(expected.lines) - len(HIDDEN_DATA)
        expected = Said(expected.status, "".join(f"{line}\n" for line in kept), "")
    other = OTHERWISE[name].get(case)
    if other:
        assert expected != other, "it does not differ any more: say so in the docs, and take it out here"
        expected = other
    found = house.say(name, *words, before=before)
    assert found == expected, found.stderr


@pytest.mark.parametrize("name", NAMES[2:])
def test_python_m_itself_says_what_it_should(house: House, name: str) -> None:
    """What is compared with would be worth nothing if every case failed alike."""
    assert house.expected(name, "leave", "3").status == 3
    assert house.expected(name, "version").stdout == "4.5.6\n>=3.11\n"
    assert "greetings of the plugin" in house.expected(name, "plugins").stdout
    assert len(house.expected(name, "data").lines) == 7
    assert house.expected(name, "pool", "spawn").stdout == "[0, 1, 4, 9, 16]\n"
    assert house.expected(name, "wait", "handled", before=(*WAIT, "TERM")).status == 9
    assert house.expected(name, "name").stdout == "__main__ parity_app parity_app.cli\n"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_on_stderr(house: House, name: str) -> None:
    assert house.say(name, "output").stderr == "to stderr\n"
    assert house.say(name, "leave-text").stderr == "a text for stderr\n"
    lines = house.say(name, "fail").stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[-1] == "ValueError: nobody catches this"


@pytest.mark.parametrize("name", NAMES)
def test_its_own_file_and_the_data_beside_it(house: House, name: str) -> None:
    """Nuitka names the file where it would be; only data lie there."""
    file, exists, text = house.say(name, "file").lines[:3]
    assert file.endswith("/parity_app/cli.py") and text == "plain"
    assert exists == str(name not in BY_NUITKA)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_image_is_on_the_path(house: House, name: str) -> None:
    places, folder = house.say(name, "path").lines, house.folder(name)
    if name == "nuitka-onefile":
        # Each start unpacks into a folder of its own; the one where the file lies comes first.
        beside, unpacked = places
        assert beside == folder and unpacked.startswith("/tmp/onefile_")
    elif name in UNPACKED_ONCE:
        assert places and all(UNPACKED in place for place in places), places
    elif name == "pex":
        # That of its Python, which the image has in /usr/local for it, and then that of its virtual environment.
        *of_python, own = places
        assert of_python and all(place.startswith("/usr/local/lib/python3") for place in of_python), places
        assert own.startswith(VENVS) and own.endswith("/lib/python3.13/site-packages")
    else:
        assert places and all(place == folder or place.startswith(f"{folder}/") for place in places), places


@pytest.mark.parametrize("name", NAMES)
def test_the_program_is_its_own_name(house: House, name: str) -> None:
    (program,) = house.subjects[name].argv
    said = house.say(name, "argv").stdout
    if name in UNPACKED_ONCE:
        # It is called as its user called it. Both programs, that of Nuitka and the script of the bundle, tell the app
        # where they lie.
        assert UNPACKED in said and said.endswith("/parity', 'argv']\n")
    else:
        assert said == f"{[program, 'argv']}\n"
    assert house.say(name, "name").stdout == "parity_app.cli parity_app parity_app.cli\n"


UNPACKED = "/.cache/py-portable-onefile/"
VENVS = f"{PLAIN.home}/.cache/pex/venvs/"
EXECUTABLES = {
    "nuitka-standalone": "PROGRAM",
    "nuitka-onefile": "/tmp/onefile_",
    "pyoxidizer": "PROGRAM",
    "bundle": "FOLDER/bin/python3.13",
}


@pytest.mark.parametrize("name", NAMES)
def test_sys_executable(house: House, name: str) -> None:
    told, exists = house.say(name, "executable").lines
    (program,) = house.subjects[name].argv
    if name in UNPACKED_ONCE:
        end = "/parity" if name in BY_NUITKA else "/bin/python3.13"
        assert exists == "True" and UNPACKED in told and told.endswith(end)
        return
    if name == "pex":
        assert exists == "True" and told.startswith(VENVS) and told.endswith("/bin/python")
        return
    wanted = EXECUTABLES[name].replace("PROGRAM", program).replace("FOLDER", house.folder(name))
    assert exists == "True"
    assert told == wanted or (name == "nuitka-onefile" and told.startswith(wanted) and told.endswith("/parity.bin"))


def test_the_bundles_sys_executable_is_a_python(house: House) -> None:
    """With the others it is the program itself: `-m` and `-c` are words of the app's."""
    words = ("python", "-m", "parity_app.cli", "version")
    assert house.say("bundle", *words) == house.expected("bundle", *words) == Said(0, "0 4.5.6\n>=3.11\n\n", "")


@pytest.mark.nightly
@needs_rust
@pytest.mark.parametrize("payload", ["onefile", "appimage"])
def test_a_folder_of_pyoxidizer_packed_says_the_same(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: str
) -> None:
    """Packed here, and not as well as it can be, for that takes longer than all else."""
    oxide = house.subjects["pyoxidizer"]
    (bind,) = oxide.binds
    program = Path(oxide.argv[0]).relative_to(bind.target)
    monkeypatch.setattr(packer, "LEVEL", 1)
    monkeypatch.setattr(squashfs, "ZSTD_LEVEL", 1)
    pack = {"onefile": packer.pack, "appimage": squash_packer.pack}[payload]
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    pack(bind.source, tmp_path / "parity", name="parity", program=str(program), runtime=runtime.runtime())
    shown = "/opt/app/parity"
    packed = Subject("packed", (shown,), (Bind(tmp_path / "parity", shown),))
    for words in (("output",), ("plugins",), ("data",), ("pool", "spawn"), ("leave", "3")):
        said = house.started(packed, words)
        assert said == house.say("pyoxidizer", *words), said.stderr
