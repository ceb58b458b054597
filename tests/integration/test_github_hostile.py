"""What strangers write, and what nobody may read: an act run with a corpus in every place, and one with secrets."""

from __future__ import annotations

import base64
import http.server
import json
import re
import secrets
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import portable
from tests.integration.github import Server, copy_of_the_kit
from tests.unit.test_ci_action import CORPUS

pytestmark = pytest.mark.integration

INPUTS = ("config", "command", "artifacts", "images", "tier", "dist", "engine", "python", "cache", "allow-unproven")
INPUTS += ("artifact-prefix",)
TEXTS = [text.replace("\0", "") for text in CORPUS]
TEXTS += ["::set-env name=FORGED::x", "::add-path::/forged", "::add-mask::verdict", "::save-state name=x::forged"]
EVERYTHING = "\n".join(TEXTS)
CONFIG = "a $(touch forged) `touch forged` '\"; ::error::forged %0A##[error]forged é.yaml"
FILE = "t $(touch forged)`touch forged`'\";::add-mask::a%0A<b>forged"
BRANCH = "refs/heads/x$(touch${IFS}forged)`touch${IFS}forged`'\";touch${IFS}forged;%0A::error"
OWN = re.compile(
    r"(group::py-portable |endgroup::|stop-commands::[0-9a-f]{32}$|[0-9a-f]{32}::"
    r"|(error|warning) (title=py-portable::|file=[^:]*,title=[^:]*::)|set-output:: [a-z-]+=)"
)
"""What the kit itself has obeyed, as act shows it."""
OUTPUTS = {"evidence", "dist", "report", "verdict", "matrix"}


def step(uses_with: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"uses": "org/py-portable@v1", "with": uses_with, "continue-on-error": True, **more}


def workflow(steps: list[dict[str, Any]]) -> str:
    first = {
        "uses": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "with": {"persist-credentials": False},
    }
    last = {
        "if": "always()",
        "shell": "bash",
        "env": {"STEPS": "${{ toJSON(steps) }}"},
        "run": 'printf %s "$STEPS" >"$PY_PORTABLE_TEST_TOLD/steps" && env -0 >"$PY_PORTABLE_TEST_TOLD/env"',
    }
    jobs = {"hostile": {"runs-on": "ubuntu-24.04", "steps": [first, *steps, last]}}
    return yaml.safe_dump({"on": ["push"], "jobs": jobs}, sort_keys=False)


def write_app(folder: Path) -> None:
    """A config, a program's file and what it says, all of the worst kind."""
    config = yaml.safe_load((folder / "portable.yaml").read_text())
    config["artifacts"]["tool"]["path"] = f"vendor/{FILE}"
    config["app"]["smoke"] = [{"args": ["$(touch forged)", "::error::forged"], "stdout": ["never said"]}]
    (folder / "portable.yaml").unlink()
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    (folder / "vendor" / "tool").unlink()
    program = folder / "vendor" / FILE
    said = EVERYTHING.replace("'", "'\\''")
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' '{said}'\nprintf '%s\\n' '{said}' >&2\necho forged >>\"${{GITHUB_OUTPUT:-/dev/null}}\"\n"
    )
    program.chmod(0o755)


def test_nothing_that_a_stranger_writes_is_obeyed(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", copy_of_the_kit(tmp_path / "py-portable"))
    write_app(server.app)
    told = tmp_path / "told"
    told.mkdir()
    server.env |= {"PY_PORTABLE_TEST_TOLD": str(told), "PY_PORTABLE_STORE": str(tmp_path / "store")}
    good = {"config": "${{ github.event.config }}", "cache": "false"}
    steps = [step({**good, "cache": "true"}, id="proven")]
    # The names are read before anything else is; each has a step of its own.
    steps += [step({**good, name: "${{ github.event.evil }}"}, id=f"evil-{name}") for name in INPUTS]
    payload = {"ref": BRANCH, "config": CONFIG, "evil": EVERYTHING, "repository": {"full_name": "own/app"}}
    ran = server.workflow(workflow(steps), payload=payload)
    assert ran.status == 0, ran.log
    assert BRANCH in (told / "env").read_text().split("GITHUB_REF=")[1], "the branch is not there at all"

    assert not [path for path in tmp_path.rglob("*") if path.name == "forged"]
    assert not list(Path.cwd().glob("forged"))
    environment = dict(line.partition("=")[::2] for line in (told / "env").read_text().split("\0"))
    assert "FORGED" not in environment and "/forged" not in environment["PATH"].split(":")
    outputs = {name: one["outputs"] for name, one in json.loads((told / "steps").read_text()).items()}
    assert set(outputs) >= {"proven", *(f"evil-{name}" for name in INPUTS)}
    for name, values in outputs.items():
        if name == "proven" or name.startswith("evil-"):
            assert set(values) <= OUTPUTS
            assert values.get("verdict", "") in ("", "FAIL"), name
    assert outputs["proven"]["verdict"] == "FAIL"
    # It was started and has spoken: else this shows nothing.
    assert "never said" in ran.summary and ": :add-mask::verdict" in ran.summary

    # What act obeys stands behind a sign in its log, and not behind the bar of a line that is shown.
    obeyed = re.findall(r"^\[[^]\n]*\] +[^ |\n]+ +::(.*)$", ran.log, re.MULTILINE)
    assert obeyed
    for line in obeyed:
        assert OWN.match(line), line
    # A mask would have taken the word out of the log.
    assert "verdict" in ran.log and "\x1b[31m" not in ran.log
    for name in INPUTS:
        assert f"the input {name}" in ran.log or name in ("python", "config"), name
    for line in outside_of_code(ran.summary):
        assert not re.search(r"forged|script|javascript|<b>", line), line


def outside_of_code(markdown: str) -> list[str]:
    """Lines without what stands in code."""
    found, fence = [], ""
    for line in markdown.splitlines():
        mark = re.match(r"`{3,}", line)
        if mark and (not fence or line.startswith(fence)):
            fence = "" if fence else mark[0]
        elif not fence and not line.startswith("    "):
            found.append(re.sub(r"(`+).+?\1", "", line))
    return found


_DRAWN = secrets.token_hex(8)
"""Else this file would hold them, and it is part of the kit."""
SECRETS = {
    "index": "p@ss/w+rd-of-the-index-Zx81",
    "extra": "p&ss=of-the-other-index-Qy72",
    "netrc": "of-the-netrc-Kw63",
    "GITHUB_TOKEN": "ghs_0123456789abcdefghijklmnopqrstuvwxyz",
    "ACTIONS_RUNTIME_TOKEN": "eyJhbGciOi.of-the-runtime.Jv54",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "eyJhbGciOi.of-the-identity.Hu45",
    "TWINE_PASSWORD": "pypi-of-the-upload-Gt36",
    "LICENCE_KEY": "of-the-compiler $(id) 'Fs27",
}
SECRETS = {name: f"{value}{_DRAWN}" for name, value in SECRETS.items()}
USER = "ada-of-the-test"


def forms(secret: str) -> set[bytes]:
    """A secret as it is, as URLs write it, and as HTTP sends it."""
    pairs = [secret, f"{USER}:{secret}", f"x-access-token:{secret}"]
    found = {base64.b64encode(text.encode()).decode().rstrip("=") for text in pairs}
    found |= {base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in pairs}
    found |= {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), urllib.parse.quote_plus(secret)}
    return {text.encode() for text in found | {json.dumps(secret)[1:-1]}}


@pytest.fixture
def mean_index() -> Iterator[str]:
    """It turns everybody away, and says what they said."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization", ""))
            body = f"you said {asked[-1]} and {base64.b64decode(asked[-1][6:] or 'eA==')!r}".encode()
            self.send_response(403, body.decode()[:200].replace("\n", " "))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    assert any(asked), "nobody logged in: the test shows nothing"


def write_curious_app(folder: Path) -> None:
    """One that shows its environment, and one whose packages come from the private index."""
    tool = folder / "vendor" / "tool"
    tool.write_text("#!/bin/sh\nenv\nset\necho HOME=$HOME\ncat ~/.netrc\nexit 3\n")
    config = yaml.safe_load((folder / "portable.yaml").read_text())
    config["build"] = {"pass-env": ["LICENCE_KEY"]}
    (folder / "portable.yaml").write_text(yaml.safe_dump(config))
    config["artifacts"] = {"house": {"format": "wheelhouse"}}
    (folder / "private.yaml").write_text(yaml.safe_dump(config))


def variables(index: str) -> dict[str, str]:
    def url(secret: str) -> str:
        return f"http://{USER}:{urllib.parse.quote(SECRETS[secret], safe='')}@{index}/simple/"

    named = {name: value for name, value in SECRETS.items() if name.isupper()}
    return {**named, "PIP_INDEX_URL": url("index"), "PIP_EXTRA_INDEX_URL": url("extra"), "PIP_FIND_LINKS": ""}


def holders(folder: Path, texts: dict[str, str]) -> list[str]:
    """Which secret is in which file below the folder, or in which text."""
    wanted = {(name, form) for name, secret in SECRETS.items() for form in forms(secret)}
    found = [f"{name} in {what}" for name, form in wanted for what, text in texts.items() if form in text.encode()]
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            found += [f"{name} in {path}" for name, form in wanted if form in data]
    return found


def test_no_secret_is_in_any_file_or_log(tmp_path: Path, mean_index: str) -> None:
    kit = copy_of_the_kit(tmp_path / "kit" / "py-portable")
    server = Server(tmp_path / "server", kit)
    write_curious_app(server.app)
    # What the kit itself is set up from is fetched before there is any secret.
    assert "cache: miss" in server.workflow(workflow([step({})])).log
    secret = variables(mean_index)
    server.env |= secret
    server.home_files[".netrc"] = f"machine 127.0.0.1 login {USER} password {SECRETS['netrc']}\n"
    server.env["PY_PORTABLE_TEST_TOLD"] = str(tmp_path)
    steps = [step({}, id="curious"), step({"config": "private.yaml", "artifact-prefix": "private"}, id="private")]
    ran = server.workflow(without_env(workflow(steps)))
    assert "cannot be resolved" in ran.log and "Failure: tool on debian:12" in ran.log
    home = server.work / "run-2" / "home" / ".netrc"
    assert SECRETS["netrc"] in home.read_text()
    home.unlink()

    laptop = tmp_path / "laptop"
    laptop.mkdir()
    for name in ("portable.yaml", "private.yaml"):
        (laptop / name).write_bytes((server.app / name).read_bytes())
    (laptop / "vendor").mkdir()
    (laptop / "vendor" / "tool").write_bytes((server.app / "vendor" / "tool").read_bytes())
    (laptop / "vendor" / "tool").chmod(0o755)
    env = {**secret, "PY_PORTABLE_STORE": str(tmp_path / "store")}
    said = {"act": ran.log}
    for words in (("portability", "-v"), ("build", "-v", "--config", "private.yaml")):
        done = portable(*words, "--engine", "native", cwd=laptop, env=env)
        assert done.status in (1, 4), done.stderr
        said[words[0]] = done.stdout + done.stderr
    assert holders(tmp_path, said) == []


def without_env(text: str) -> str:
    """The last step's own look at its environment would be the one place where they are."""
    return text.replace(' && env -0 >"$PY_PORTABLE_TEST_TOLD/env"', "")
