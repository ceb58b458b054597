"""The manual page and the completions of a package: man shows the one, bash, zsh and fish use the others, on an image
where apt installed the package; and nothing of them is left when it is removed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from py_portable import images
from py_portable.engines.engine import Bind, Job
from py_portable.formats.system_packages import asking
from py_portable.steps.context import Context, Environment, Result
from py_portable.steps.identity import NodeId
from py_portable.store import Store, default_root
from tests.integration.conftest import Project, bubblewrap, sample

pytestmark = pytest.mark.integration
SHELLS = ("bash-completion", "fish", "man-db", "zsh")
IMAGE = f'{{image: "debian:12", packages: [{", ".join(SHELLS)}]}}'
ARTIFACTS = f"""
artifacts:
  tree: {{format: bundle, archive: false}}
  package: {{format: deb, from: tree, compression: none}}
portability:
  images: [{IMAGE}]
"""
FILES = {
    "app/pyproject.toml": """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "counter"
version = "2.0"
description = "Counts what it is told"
[project.scripts]
counter = "counter:main"
mute = "counter:mute"
[tool.setuptools]
py-modules = ["counter"]
[tool.setuptools.data-files]
"share/man/man5" = ["counter.conf.5"]
""",
    "app/counter.conf.5": ".TH COUNTER.CONF 5\n.SH NAME\ncounter.conf \\- its settings\n",
    "app/counter.py": """import argparse

def main():
    parser = argparse.ArgumentParser(description="Counts.  It's .1 \\\\ of \\u201call\\u201d; see https://example.org/" + "x/" * 60)
    parser.add_argument("-n", "--number", metavar="N", help="how many " * 12)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("up", help="counts up", description="Counts up.").add_argument("--from-zero", action="store_true")
    commands.add_parser("down", help="counts down")
    parser.parse_args()
    print("counted")

def mute():
    raise SystemExit("it says nothing")
""",
}
CONFIG = f"""version: 1
app: {{source: app, script: counter, smoke: [{{args: [], stdout: ["counted"]}}]}}
python: "3.13"
baselines:
  default: {{image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}}
{ARTIFACTS}"""
CHECK = """set -eu
name=$1 package=$2
dpkg --install "$package" >/dev/null
cd /usr/share
echo "installed: $(dpkg -L "$name" | grep '^/usr/share/.*/' | grep -v '/doc/\\|/lintian/' | while read -r one; do [ -d "$one" ] || echo "$one"; done |
    tr '\\n' ' ')"
page=man/man1/$name.1.gz
echo "warnings: $(MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)"
MANWIDTH=100 man -l "$page" | col -b | sed 's/^/page: /'
bash -c '. bash-completion/bash_completion; _completion_loader "$1" || :; how=$(complete -p "$1"); echo "bash: $how"
    case $how in
        *\\ -F\\ *) function=${how#* -F }; COMP_WORDS=("$1" "$2"); COMP_CWORD=1; "${function% *}" "$1" "$2" "$1"
            echo "completed: ${COMPREPLY[*]}" ;;
        *) how=${how#complete }; echo "completed: $(eval "compgen ${how% *} -- $2" | tr "\\n" " ")" ;;
    esac' sh "$name" "$3"
zsh -f -c 'autoload -Uz compinit && compinit -D && zsh -n $^fpath/_$1(N) && print zsh: $_comps[$1]' sh "$name"
cd /root
fish -c "complete -C '$name $3'" | sed 's/^/fish: /'
"""


def asked(project: Project, name: str, word: str) -> dict[str, list[str]]:
    """What is seen on the image where the package is installed, by its first word. `word`: what is completed."""
    engine = bubblewrap()
    image = images.resolve("debian:12", packages=SHELLS, store=Store(default_root(os.environ)), engine=engine)
    (package,) = (project.folder / "dist" / "package").iterdir()
    job = Job(
        "build",
        image.root,
        ("/bin/sh", "-c", CHECK, "sh", name, "/package.deb", word),
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        binds=(Bind(package, "/package.deb"),),
        root_access="throw-away",
    )
    ended = engine.run(job, timeout=120)
    assert ended.ok, ended.stdout.text + ended.stderr.text
    found: dict[str, list[str]] = {}
    for line in ended.stdout.text.splitlines():
        key, _, rest = line.partition(": ")
        found.setdefault(key.rstrip(":"), []).append(rest)
    return found


@pytest.mark.nightly
def test_a_click_app_says_its_help_and_its_completions(tmp_path: Path) -> None:
    project = sample(tmp_path)
    config = project.folder / "portable.yaml"
    config.write_text(config.read_text().partition("artifacts:")[0] + ARTIFACTS)
    ran = project.run("portability", "--artifact", "package")
    # Proven with the pages: installed, upgraded, removed and purged, and the image is what it was.
    assert ran.status == 0 and {cell["verdict"] for cell in project.cells()} == {"PASS"}, ran.stdout + ran.stderr
    found = asked(project, "myapp", "s")
    assert found["installed"][0].split() == [
        "/usr/share/bash-completion/completions/myapp",
        "/usr/share/fish/vendor_completions.d/myapp.fish",
        "/usr/share/man/man1/myapp.1.gz",
        "/usr/share/zsh/vendor-completions/_myapp",
    ]
    assert found["warnings"] == [""]
    page = "\n".join(found["page"])
    assert "myapp - Sample app" in page and "myapp [OPTIONS] COMMAND [ARGS]..." in page
    assert "run    Call into every library and say that it works." in page and "myapp show [OPTIONS]" in page
    # The program itself is asked what fits.
    assert " -F _myapp_completion " in found["bash"][0] and found["completed"] == ["show"]
    assert found["zsh"] == ["_myapp"]
    assert [line.split()[0] for line in found["fish"]] == ["show"]


@pytest.mark.nightly
def test_of_an_argparse_app_they_are_made_and_of_one_that_says_nothing_not(tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "portable.yaml").write_text(CONFIG)
    project = Project(tmp_path)
    ran = project.run("portability", "--artifact", "package")
    assert ran.status == 0 and {cell["verdict"] for cell in project.cells()} == {"PASS"}, ran.stdout + ran.stderr
    assert "no manual page" not in ran.stderr
    found = asked(project, "counter", "")
    # Its own page stands beside the one that is made.
    assert found["installed"][0].split() == [
        "/usr/share/bash-completion/completions/counter",
        "/usr/share/fish/vendor_completions.d/counter.fish",
        "/usr/share/man/man1/counter.1.gz",
        "/usr/share/man/man5/counter.conf.5.gz",
        "/usr/share/zsh/vendor-completions/_counter",
    ]
    assert found["warnings"] == [""]
    page = "\n".join(found["page"])
    assert "counter - Counts what it is told" in page and "Counts. It's .1 \\ of “all”; see" in page
    assert "counter up [-h] [--from-zero]" in page and "down   counts down" in page
    assert found["completed"][0].split() == ["up", "down", "-h", "--help", "-n", "--number"]
    assert found["zsh"] == ["_counter"] and {"up", "down"} <= {line.split()[0] for line in found["fish"]}
    (tmp_path / "portable.yaml").write_text(CONFIG.replace("script: counter", "script: mute"))
    ran = project.run("build", "package")
    assert ran.status == 0, ran.stderr
    assert "`mute --help` says nothing" in ran.stderr


HOSTILE = {
    # What it writes instead of an answer, and what it leaves beside it.
    "leaves": "ln -sf /etc/passwd /out/0; ln -s /etc /out/more; cp /bin/true /out/raised; chmod 4755 /out/raised; echo x",
    "waits": "sleep 1000 & echo usage: tool; sleep 1000",
    "floods": "exec yes 'usage: tool'",
    "changes": "echo more >>/in/folder/tool; echo >/etc/made; echo usage: tool",
    "no-file": "rm /out/0; mkfifo /out/0",
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_program_is_asked_in_vain(tmp_path: Path, how: str) -> None:
    engine, store = bubblewrap(), Store(default_root(os.environ))
    folder, work = tmp_path / "folder", tmp_path / "work"
    for place in (folder, work / "out"):
        place.mkdir(parents=True)
    text = f"#!/bin/sh\n{HOSTILE[how]}\n"
    (folder / "tool").write_text(text)
    (folder / "tool").chmod(0o755)
    image = images.resolve("debian:12", store=store, engine=engine)
    ctx = Context(
        env=Environment(store, engine, epoch=0, jobs=1),
        name="help of tool",
        params={"seconds": 2},
        inputs={NodeId("artifact", "tool"): Result(folder, "", {"payload": ".", "script": "tool"})},
        image=image,
        work=work,
        log=work / "log",
    )
    asking.ask(ctx)
    assert [path.name for path in (work / "out").iterdir()] == ["answers.json"]
    answers = json.loads((work / "out" / "answers.json").read_text())
    assert "root:" not in answers["help"] and not answers["scripts"] and not answers["commands"]
    assert (folder / "tool").read_text() == text and not (image.root / "etc" / "made").exists()
    assert ("did not end within 2 seconds" in answers["why"]) is (how == "waits"), answers
    assert answers["help"] == ("usage: tool\n" if how == "changes" else "")
