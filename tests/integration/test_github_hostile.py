"""What strangers write and what must stay secret, in runs of the action by act: nothing runs, nothing is forged, and
no secret is in any file that a run leaves."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.integration.github import HERE, Ran, Server, copy_of_the_kit, example

pytestmark = pytest.mark.integration

INPUTS = (
    "config",
    "command",
    "artifacts",
    "images",
    "tier",
    "dist",
    "engine",
    "python",
    "cache",
    "allow-unproven",
    "artifact-prefix",
)
HOSTILE = "\n".join(
    (
        "$(touch forged)`touch forged`;touch forged;'\"&&touch forged #",
        "::set-output name=verdict::FORGED",
        "::add-mask::tool",
        "::error::FORGED",
        "##[error]FORGED",
        "::stop-commands::x",
        "%0A::error::FORGED",
        "\x1b[31mFORGED\x1b[0m\x1b]0;title\x07",
        "verdict<<EOF",
        "FORGED",
        "EOF",
        "</details><script>FORGED</script>",
        "../../forged",
    )
)
"""No expression of GitHub's is in it: those are the workflow's own text, which nobody else writes."""
OBEYED = re.compile(r"❗  ::error::\w+|⚙  ::set-output:: verdict=FORGED|⚙  ::stop-commands::x\b|⚙  ::add-mask::.*")
"""How act tells that it did what a line of the log asked for. Our own annotations have a title or a file."""
SECRETS = {
    "PIP_INDEX_URL": "http://reader:p%40ss-Index-1@127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "http://reader:Extra-Index-2@127.0.0.1:9/simple",
    "GITHUB_TOKEN": "ghs_Token3Token3Token3Token3Token3Token3",
    "ACTIONS_RUNTIME_TOKEN": "eyJ-Runtime-4-Runtime-4",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "eyJ-Identity-5-Identity-5",
    "TWINE_PASSWORD": "pypi-Upload-6-Upload-6",
    "MY_LICENCE": "licence-Pass-Env-7",
}
WORDS = ("p%40ss-Index-1", "p@ss-Index-1", "Extra-Index-2", *list(SECRETS.values())[2:])


WITH_WHEELS = """\
version: 1
python: "3.13"
app:
  requirement: "no-such-tool==1.2"
  script: tool
  smoke: [{args: []}]
build: {pass-env: [MY_LICENCE]}
artifacts: [wheelhouse]
portability: {images: ["debian:12"]}
"""


def workflow(*steps: object) -> str:
    """The example with one job, with other steps in the place of the kit's."""
    told = yaml.safe_load(example("one-job.yml"))
    # YAML 1.1 reads the key `on` as a boolean.
    told["on"] = told.pop(True)
    job = told["jobs"]["portable"]
    job["steps"] = [job["steps"][0], *steps]
    return yaml.safe_dump(told, sort_keys=False)


def kit_step(name: str, **inputs: str) -> dict[str, object]:
    step = {"id": name, "uses": "org/py-portable@v1", "continue-on-error": True}
    return {**step, "with": {"artifact-prefix": name, "cache": "false", **inputs}}


def told_by(names: Sequence[str]) -> dict[str, object]:
    """The last step: what the runner took from each for its output."""
    lines = ["echo '::error::CONTROL'"]
    env = {}
    for name in names:
        key = name.upper().replace("-", "_")
        env[f"V_{key}"] = f"${{{{ steps.{name}.outputs.verdict }}}}"
        env[f"O_{key}"] = f"${{{{ steps.{name}.outcome }}}}"
        lines.append(f'echo "told {name} [$V_{key}] [$O_{key}]"')
    return {"if": "always()", "shell": "bash", "env": env, "run": "\n".join(lines)}


@dataclass(frozen=True)
class Seen:
    server: Server
    ran: Ran


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One run for all: setting up costs more than what each of the steps does."""
    work = tmp_path_factory.mktemp("hostile")
    server = Server(work / "server", copy_of_the_kit(work / "kit"))
    odd = HOSTILE.replace("/", "_").replace("\n", " ").replace("\x1b", "")[:200].replace("\x07", "")
    said = f"cat <<'END-1'\n{HOSTILE}\nEND-1\ncat >&2 <<'END-2'\n{HOSTILE}\nEND-2\nexit 3\n"
    project(server, f"odd/{odd}", said)
    project(server, "red", "echo 'tool: libodd.so.9: cannot open it' >&2\nexit 3\n")
    # An app that tells all that it knows: a cell knows nothing of the job's environment.
    project(server, "telling", "env\necho 'tool 1.2'\n")
    named = yaml.safe_load((server.app / "portable.yaml").read_text())
    named["artifacts"] = {HOSTILE: {"format": "file", "path": "../vendor/tool"}}
    project(server, "named", "", yaml.safe_dump(named))
    project(server, "wheels", "", WITH_WHEELS)
    steps = [kit_step(f"of-{name}", **{name: HOSTILE}) for name in INPUTS]
    steps += [kit_step("said", config="odd/*/portable.yaml")]
    steps += [kit_step(name, config=f"{name}/portable.yaml") for name in ("named", "red")]
    # The kit's own set-up must find an index, so these come after it.
    telling = kit_step("telling", config="telling/portable.yaml", cache="true")
    wheels = kit_step("wheels", config="wheels/portable.yaml", command="lock build")
    steps += [{**telling, "env": SECRETS}, {**wheels, "env": SECRETS}]
    text = workflow(*steps, told_by([str(step["id"]) for step in steps]))
    payload = {
        "repository": {"full_name": "own/app"},
        "number": 7,
        "pull_request": {"number": 7, "title": HOSTILE, "head": {"ref": HOSTILE}, "base": {"ref": "main"}},
    }
    return Seen(server, server.workflow(text, event="pull_request", payload=payload))


def project(server: Server, folder: str, script: str, config: str | None = None) -> None:
    (server.app / folder / "vendor").mkdir(parents=True)
    told = config or (server.app / "portable.yaml").read_text()
    (server.app / folder / "portable.yaml").write_text(told)
    tool = server.app / folder / "vendor" / "tool"
    tool.write_text(f"#!/bin/sh\n{script}")
    tool.chmod(0o755)


def test_nothing_of_a_stranger_runs_or_is_obeyed(seen: Seen) -> None:
    assert [str(path) for path in seen.server.work.rglob("forged*")] == []
    assert OBEYED.findall(seen.ran.log) == ["❗  ::error::CONTROL"]
    assert "***" not in seen.ran.log, "a word was masked"


def test_no_input_that_is_hostile_is_green(seen: Seen) -> None:
    for name in INPUTS:
        # Refused by the first step: there is no verdict, which no condition takes for PASS.
        assert f"told of-{name} [] [failure]" in seen.ran.log


def test_what_strangers_write_is_shown_and_no_more(seen: Seen) -> None:
    assert "told said [FAIL] [failure]" in seen.ran.log
    assert "told named [FAIL] [failure]" in seen.ran.log
    summaries = seen.ran.log.split("Summary - ")
    said = next(text for text in summaries if text.startswith("# FAIL: 1 FAIL") and "FORGED" in text)
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$|`[^`\n]*`|<code>.*?</code>", "", said.partition("\n[")[0])
    assert "FORGED" not in outside, outside
    assert "script" not in outside


def test_the_first_screen_of_a_red_run(seen: Seen) -> None:
    summary = next(text for text in seen.ran.log.split("Summary - ") if text.startswith("#") and "libodd" in text)
    screen = "\n".join(summary.split("\n")[:25])
    assert screen.startswith("# FAIL: 1 FAIL")
    assert "`tool` on `debian:12`" in screen
    assert "exit status 3, expected 0" in screen
    assert "py-portable portability --config red/portable.yaml --artifact tool --image debian:12" in screen


def forms(word: str) -> set[bytes]:
    return {
        word.encode(),
        urllib.parse.quote(word, safe="").encode(),
        base64.b64encode(word.encode()).rstrip(b"="),
        base64.b64encode(f"reader:{word}".encode()).rstrip(b"="),
    }


def leaks(root: Path, but: tuple[Path, ...] = ()) -> list[str]:
    """Files below `root` with a secret in them, in any of its forms."""
    wanted = {form for word in WORDS for form in forms(word)}
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if Path(folder, name) not in but]
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            data = path.read_bytes()
            found += [f"{path}: {form!r}" for form in wanted if form in data]
    return found


def test_no_secret_is_in_any_file_of_a_run(seen: Seen) -> None:
    assert leaks(Path(__file__).parent), "the search does not find what is there"
    assert "told telling [PASS] [success]" in seen.ran.log
    assert "told wheels [FAIL] [failure]" in seen.ran.log
    assert "no-such-tool" in seen.ran.log
    # The workflow itself names them here; a real one would say `secrets.…`.
    assert leaks(seen.server.work, but=(seen.server.app / ".github",)) == []


def test_no_secret_is_in_any_file_of_a_run_by_hand(tmp_path: Path) -> None:
    server = Server(tmp_path, HERE)
    (server.app / "wheels.yaml").write_text(WITH_WHEELS)
    (server.app / "vendor" / "tool").write_text("#!/bin/sh\nenv\necho 'tool 1.2'\n")
    environ = {**os.environ, **SECRETS, "PY_PORTABLE_STORE": str(tmp_path / "store")}
    for argv, status in (
        (("build",), 0),
        (("portability", "--engine", "native"), 0),
        (("report", "--github"), 0),
        (("lock", "--config", "wheels.yaml", "--dist", "other"), 4),
        (("build", "--config", "wheels.yaml", "--dist", "other"), 4),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "py_portable", *argv],
            cwd=server.app,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        (tmp_path / f"said-{argv[0]}").write_text(done.stdout + done.stderr)
        assert done.returncode == status, done.stderr
    assert leaks(tmp_path) == []
