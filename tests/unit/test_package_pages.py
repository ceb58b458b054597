"""Manual pages and completions: what is read from a help, what is written of it, and where it comes from."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable import resources
from py_portable.errors import StepError
from py_portable.formats.deb import DebOptions
from py_portable.formats.system_packages import completions, help_text, man_page
from py_portable.formats.system_packages.about import about
from py_portable.formats.system_packages.asking import KIND, Answers
from py_portable.formats.system_packages.package_options import told
from py_portable.formats.system_packages.pages import folders, gathered
from py_portable.steps.context import Context, Result
from py_portable.steps.identity import NodeId
from tests.unit.test_packages import problems

CLICK = """\
Usage: tool [OPTIONS] COMMAND [ARGS]...

  Does one thing.  And another.

  Example:
      tool run x

Options:
  -v, --verbose / --no-verbose  Say more.
  --level INTEGER               How far it goes, which
                                takes time.
  --help                        Show this message and exit.

Commands:
  run-it  Run.
  stop
"""
MADE = "/usr/share/man/man1/tool.1.gz"


def parsed(**keys: Any) -> help_text.Help:
    parser = argparse.ArgumentParser("tool", **keys)
    parser.add_argument("mode", choices=["fast", "slow"], help="how")
    parser.add_argument("-n", "--number", metavar="N", help="how many " * 30)
    sub = parser.add_subparsers(title="commands", description="what it does")
    for name in ("up", "down-now"):
        sub.add_parser(name, help=f"goes {name}")
    found = help_text.read(parser.format_help())
    assert found is not None
    return found


def test_what_click_says_is_read() -> None:
    found = help_text.read(CLICK)
    assert found is not None
    assert found.usage == ("tool [OPTIONS] COMMAND [ARGS]...",)
    assert found.about[0].lines == ("Does one thing.  And another.",)
    assert found.about[1].lines == ("Example:", "    tool run x")
    assert [section.title for section in found.sections] == ["Options", "Commands"]
    assert found.sections[0].blocks[0].entries[1] == ("--level INTEGER", "How far it goes, which takes time.")
    assert found.options == ("-v", "--verbose", "--no-verbose", "--level", "--help")
    assert found.commands == ("run-it", "stop")


def test_what_argparse_says_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = parsed(description="Text.", epilog="The end.")
    assert found.options == ("-h", "--help", "-n", "--number")
    assert {"up", "down-now", "fast"} <= set(found.commands)
    assert found.usage[0].startswith("tool [-h] [-n N]") and len(found.usage) == 1
    entries = dict(pair for section in found.sections for block in section.blocks for pair in block.entries)
    # How the two are joined differs between versions.
    assert entries["up"] == "goes up" and ("how many " * 30).strip() in entries.values()


@pytest.mark.parametrize("text", ["", "\n\n", "Error: no", "usage:", "Usage:\n\n  x", "x\nusage: tool"])
def test_what_does_not_begin_with_its_usage_is_no_help(text: str) -> None:
    assert help_text.read(text) is None


def test_what_has_boxes_is_shown_as_it_is() -> None:
    found = help_text.read("\x1b[1mUsage:\x1b[0m tool [OPTIONS]\n\n╭─ Options ─╮\n│ --x   y   │\n╰───────────╯\n")
    assert found is not None and not found.sections
    assert found.about[0].lines == ("╭─ Options ─╮", "│ --x   y   │", "╰───────────╯")


def warnings(page: str) -> str:
    if not shutil.which("groff"):
        pytest.skip("needs groff")
    words = ["groff", "-man", "-Tutf8", "-ww", "-rLL=78n", "-Z"]
    return subprocess.run(words, input=page.encode(), capture_output=True, check=True).stderr.decode()


HOSTILE = 'usage: tool\n .x\n\n.so /etc/passwd\n\'\\" x\n\\fB\\*(x `a\' ^~ "q" ü\n\noptions:\n  -x \\n  .pi y\n  --y\n    .sy z\n'


def test_no_text_becomes_a_request_of_the_page() -> None:
    found = help_text.read(HOSTILE)
    assert found is not None
    page = man_page.page("tool", "1", "sum'mary .", found, {"run": found}, 0)
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".nh", ".ad", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi", ".br"}
    assert warnings(page) == ""


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=60)
def test_whatever_a_program_says_its_lines_stay_text(text: str) -> None:
    found = help_text.read(f"usage: tool\n\n{text}\n\noptions:\n{text}")
    if found is None:
        return
    page = man_page.page("tool", "1", text or "x", found, {}, 0)
    own = (".TH", ".nh", ".ad", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi", ".br")
    assert page.isascii() and all(line[:3] in own for line in page.splitlines() if line.startswith((".", "'")))
    for shell in completions.SHELLS:
        script = completions.of_words(shell, "tool", found) or ""
        assert not set(script) & set('$`\\;&|<>"!'), script


def test_a_page_has_no_warnings_and_says_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = man_page.page("tool", "1", "does", parsed(description="https://example.org/" + "x" * 200), {}, 86400)
    assert warnings(page) == "" and '"1970\\-01\\-02"' in page


def test_a_script_of_click_or_typer_is_known_by_its_question() -> None:
    assert completions.variable("my-tool.x") == "_MY_TOOL_X_COMPLETE"
    for value in ("bash_complete", "complete_bash", "complete"):
        assert completions.is_script("bash", ["tool", "tool.bin"], f"x _TOOL_BIN_COMPLETE={value} $1")
    for text in (CLICK, "_TOOL_COMPLETE=zsh_complete", "_OTHER_COMPLETE=bash_complete", "\0_TOOL_COMPLETE=complete"):
        assert not completions.is_script("bash", ["tool"], text)


def test_bash_takes_the_words_of_a_help() -> None:
    found = help_text.read(CLICK)
    assert found is not None
    script = completions.of_words("bash", "tool", found)
    assert script is not None
    ask = f"{script}\neval \"compgen $(complete -p tool | sed 's/^complete //; s/ tool$//') -- --l\""
    assert subprocess.run(["bash", "-c", ask], capture_output=True, text=True).stdout == "--level\n"
    assert completions.of_words("bash", "tool", help_text.Help(("tool",))) is None


# ------------------------------------------------------------------------------------------------ where they come from


def context(tmp_path: Path, said: Answers | None, files: dict[str, bytes], **options: Any) -> Context:
    """Of a step with the app's wheel, which has these files, and the answers of its program."""
    for name in ("house", "said"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "house" / "tool-1-py3-none-any.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(f"tool-1.data/data/{name}", data)
    inputs = {NodeId("wheelhouse"): Result(tmp_path / "house", "", {"app_wheel": "tool-1-py3-none-any.whl"})}
    if said:
        (tmp_path / "said" / "answers.json").write_text(json.dumps(vars(said)))
        inputs[NodeId(KIND, "tree")] = Result(tmp_path / "said", "", {})
    params = {"about": told(DebOptions(version="1", **options)), "distribution": "tool"}
    return cast(Context, SimpleNamespace(params=params, inputs=inputs, env=SimpleNamespace(epoch=86400)))


def found(ctx: Context, folder: Path, packager: str = "deb") -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    return dict(gathered(ctx, folder, "tool", about(ctx.params["about"], None, "tool"), packager))


SAID = Answers(CLICK, {"run-it": "Usage: tool run-it\n", "stop": CLICK}, {"zsh": "_TOOL_COMPLETE=zsh_complete tool"})


def test_they_are_made_where_there_are_none(tmp_path: Path) -> None:
    made = found(context(tmp_path, SAID, {}), tmp_path / "folder")
    assert list(made) == [MADE, "/usr/share/zsh/vendor-completions/_tool"]
    page = gzip.decompress(made[MADE]).decode()
    assert '.SH "tool run\\-it"' in page and '.SH "tool stop"' not in page, "it says its own help for that"
    assert made[MADE][3:10] == b"\0\0\0\0\0\x02\x03", "no name and no time"
    rest = folders([*made, "/usr/share/fish/vendor_completions.d/x"])
    assert rest == [
        *("/usr/share/fish", "/usr/share/fish/vendor_completions.d"),
        *("/usr/share/zsh", "/usr/share/zsh/vendor-completions"),
    ]


def test_the_apps_own_files_come_first(tmp_path: Path) -> None:
    files = {
        "share/man/man1/tool.1.gz": gzip.compress(b"own page"),
        "share/man/man5/tool.conf.5": b"another",
        "share/man/man1/../../../etc/evil.1": b"x",
        "share/zsh/site-functions/_tool": b"own zsh",
        "share/zsh/site-functions/_other": b"x",
        "share/bash-completion/completions/ls": b"x",
    }
    made = found(context(tmp_path, SAID, files), tmp_path / "folder", "rpm")
    assert list(made) == [MADE, "/usr/share/man/man5/tool.conf.5.gz", "/usr/share/zsh/site-functions/_tool"]
    assert gzip.decompress(made[MADE]) == b"own page" and made["/usr/share/zsh/site-functions/_tool"] == b"own zsh"


def test_a_page_that_is_there_twice_is_installed_once_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress(b"page" * 100)
    both = {"share/man/man1/tool.1": b"plain", "share/man/man1/tool.1.gz": packed}
    made = found(context(tmp_path, None, both), tmp_path / "folder")
    assert list(made) == [MADE]
    for number, data in enumerate((packed[:-9], b"\x1f\x8bx", gzip.compress(bytes(5 << 20)))):
        room = tmp_path / str(number)
        room.mkdir()
        with pytest.raises(StepError, match=r"the manual page 'tool\.1\.gz'"):
            found(context(room, None, {"share/man/man1/tool.1.gz": data}), tmp_path / "folder")


def test_of_a_folder_only_what_is_named_after_the_program(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("man1/tool.1", "man1/tool-run.1", "man1/python3.1", "man7/tool.7"):
        (folder / "share/man" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "share/man" / name).write_text(name)
    (folder / "share/man/man8").mkdir()
    (folder / "share/man/man8/tool.8").symlink_to("/etc/hostname")
    (folder / "share/man/man1/tool-large.1").write_bytes(bytes(2 << 20))
    (folder / "share/man/man1/tool-folder.1").mkdir()
    made = found(context(tmp_path, None, {}), folder)
    assert list(made) == ["/usr/share/man/man1/tool-run.1.gz", MADE]


def test_the_files_of_the_config_are_all_there_is(tmp_path: Path) -> None:
    (tmp_path / "tool.1").write_text("page")
    (tmp_path / "x").write_text("script")
    given_ = {"man": (tmp_path / "tool.1",), "completions": {"fish": tmp_path / "x"}}
    own = {"share/man/man1/tool.1": b"own", "share/zsh/site-functions/_tool": b"own"}
    made = found(context(tmp_path, SAID, own, **given_), tmp_path / "folder")
    assert list(made) == [MADE, "/usr/share/fish/vendor_completions.d/tool.fish"]
    assert gzip.decompress(made[MADE]) == b"page"


def test_nothing_is_made_where_none_is_wanted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ctx = context(tmp_path, SAID, {"share/man/man1/tool.1": b"own"}, man=(), completions={})
    assert found(ctx, tmp_path / "folder") == {} and not caplog.messages


def test_a_program_that_says_nothing_gets_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert found(context(tmp_path, Answers("no\x1b[1m", why="it \x1b[31mfailed"), {}), tmp_path / "folder") == {}
    (message,) = caplog.messages
    assert "no manual page" in message and "\x1b" not in message and "man: []" in message


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"man": ["gone.1"]}, 'artifacts.p.man: there is no file "gone.1"'),
        ({"man": ["f"]}, '"f" has no name of a manual page'),
        ({"man": ["tool.1", "more/tool.1"]}, 'two pages are called "tool.1"'),
        ({"completions": {"bash": "gone"}}, 'artifacts.p.completions: there is no file "gone"'),
        ({"completions": {"csh": "f"}}, "csh"),
    ],
)
def test_files_that_cannot_be_used_are_errors_of_the_config(tmp_path: Path, keys: dict[str, Any], text: str) -> None:
    (tmp_path / "more").mkdir()
    for name in ("f", "tool.1", "more/tool.1"):
        (tmp_path / name).write_text("x")
    assert text in problems(tmp_path, **keys)


# ------------------------------------------------------------------------------------------------------- how it is asked


def answer(tmp_path: Path, text: str, seconds: int = 5) -> tuple[subprocess.CompletedProcess[str], Path]:
    program = tmp_path / "tool.bin"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    out = tmp_path / "out"
    words = [program, "tool", out, str(seconds), "A=1", "tool", "--help"]
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    script = resources.path("build/answer.sh")
    return subprocess.run(["sh", script, *words], env=env, capture_output=True, text=True), out


def test_a_program_is_started_by_its_name_and_heard(tmp_path: Path) -> None:
    done, out = answer(tmp_path, 'read x; echo "${0##*/} $A $1 $x"')
    assert (done.returncode, out.read_text()) == (0, "tool 1 --help \n")


@pytest.mark.parametrize("text", ["echo x; exit 3", "exec yes", "kill -9 $$"])
def test_one_that_fails_or_says_too_much_is_not_heard(tmp_path: Path, text: str) -> None:
    done, out = answer(tmp_path, text)
    assert not out.exists(), done


def test_one_that_waits_ends_the_questions(tmp_path: Path) -> None:
    done, out = answer(tmp_path, "exec sleep 60", 1)
    assert done.returncode == 1 and not out.exists() and "did not end within 1 seconds" in done.stderr
