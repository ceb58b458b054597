"""The template for GitLab: one text, as a CI/CD component and as a file for `include: project`.

`scripts/make-gitlab-templates` writes it to both places. An input is a variable's value, a job's name, an image, a
stage or a word of a rule, and never a part of a command.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from py_portable import __version__
from py_portable.ci import gitlab_jobs as jobs

FILES = ("templates/py-portable.yml", "ci-templates/gitlab/py-portable.yml")
"""Components must lie in `templates/` of a repository's root, and of a component nothing but that file is delivered
(docs.gitlab.com: CI/CD components, directory structure)."""

INPUTS: Mapping[str, Mapping[str, Any]] = {
    "config": {
        "default": "portable.yaml",
        "description": "The config's path, from the root of the repository.",
    },
    "job-prefix": {
        "default": "py-portable",
        "regex": "^[A-Za-z0-9]([A-Za-z0-9._ -]{0,60}[A-Za-z0-9])?$",
        "description": "What the names of all jobs begin with; another one for each config of a repository.",
    },
    "pipeline": {
        "default": "child",
        "options": ["child", "flat"],
        "description": "child: the cells are shared out among the jobs of a child pipeline. flat: a job for each of "
        "`images`, in this pipeline, for servers before 18.5, where a merge request shows no reports of a child.",
    },
    "images": {
        "type": "array",
        "default": ["debian:11"],
        "description": "With `pipeline: flat`: the images, named as in the config. One of the config that is not here "
        "is UNPROVEN.",
    },
    "engine": {
        "default": "native",
        "options": ["native", "auto", "bubblewrap", "docker", "podman", "chroot"],
        "description": "What starts cells. native: a job an image, which runs in it and brings the kit along; for any "
        "other the runner must allow it.",
    },
    "build-engine": {
        "default": "auto",
        "options": ["native", "auto", "bubblewrap", "docker", "podman", "chroot"],
        "description": "What builds artifacts.",
    },
    "image": {
        "default": "python:3.13",
        "description": "What the jobs run in that prove nothing: Python 3.11 or newer, and what building takes.",
    },
    "kit": {
        "default": f"py-portable=={__version__}",
        "description": "The requirement that pip installs the kit by; a URL takes its digest along (#sha256=…).",
    },
    "command": {
        "default": "",
        "description": "The program, where `image` holds it already; nothing is installed then.",
    },
    "bundle": {
        "default": "",
        "description": "The kit's own bundle for jobs inside images: a path in the repository, or a URL.",
    },
    "bundle-sha256": {"default": "", "description": "Its digest; a URL needs one."},
    "shards": {
        "default": "",
        "regex": "^[0-9]{0,3}$",
        "description": "At most so many jobs; as many as are worth it where it is empty.",
    },
    "allow-unproven": {
        "type": "boolean",
        "default": False,
        "description": "Whether a run with UNPROVEN cells may be green.",
    },
    "build-stage": {"default": "build", "description": "The stage in which is planned and built."},
    "test-stage": {"default": "test", "description": "The stage in which is proven; a later one."},
    "report-stage": {
        "default": "deploy",
        "description": "With `pipeline: flat`: the stage of the report; later still.",
    },
    "expire-in": {"default": "1 week", "description": "How long the server keeps what jobs hand on."},
}

_CALLERS = ["interruptible", "retry", "tags", "timeout"]
"""What jobs take from a caller's `default:`. Its image, scripts, services, caches and tokens are for its own jobs."""
_HEAD = f"""\
# py-portable for GitLab CI: build an app's artifacts, start each on every image, report.
#
#   include:
#     - component: $CI_SERVER_FQDN/GROUP/py-portable/py-portable@{__version__}
#       inputs: {{config: portable.yaml}}
#
# or, where components are not to be had:
#
#   include:
#     - {{project: GROUP/py-portable, ref: v{__version__}, file: /ci-templates/gitlab/py-portable.yml, inputs: {{…}}}}
#
# docs/gitlab.md tells more. Made by scripts/make-gitlab-templates; changes here are lost.
"""


def template() -> str:
    """The file's text: the same for both places."""
    prefix = _input("job-prefix")
    kit = f".{prefix} kit"
    plan, build = f"{prefix} plan", f"{prefix} build"
    flat, child = _rules("flat"), _rules("child")
    told = {
        kit: {
            "image": {"name": _input("image")},
            "inherit": {"default": _CALLERS},
            "variables": _variables(),
            "before_script": [jobs.SET_UP],
        },
        plan: {
            "extends": kit,
            "stage": _input("build-stage"),
            "needs": [],
            "rules": [{"when": "on_success"}],
            "script": [jobs.PLAN],
            "artifacts": {
                "expire_in": _input("expire-in"),
                "paths": ["dist/plan.json", jobs.PIPELINE, f"{jobs.KIT}/"],
            },
        },
        build: {
            "extends": kit,
            "stage": _input("build-stage"),
            "needs": [],
            "rules": [{"when": "on_success"}],
            "variables": {"PY_PORTABLE_ENGINE": _input("build-engine")},
            "script": [jobs.BUILD],
            "artifacts": {"when": "always", "expire_in": _input("expire-in"), "paths": ["dist/"]},
        },
        f"{prefix} portability": {
            "stage": _input("test-stage"),
            "inherit": {"default": False},
            "needs": [plan, build],
            "rules": child,
            "variables": {"PY_PORTABLE_PARENT_PIPELINE": "$CI_PIPELINE_ID", **_variables()},
            "trigger": {
                "include": [{"artifact": jobs.PIPELINE, "job": plan}],
                "strategy": "depend",
                "forward": {"yaml_variables": True, "pipeline_variables": False},
            },
        },
        f"{prefix} in image": {
            "stage": _input("test-stage"),
            "image": {"name": "$PY_PORTABLE_IMAGE", "entrypoint": [""]},
            "inherit": {"default": _CALLERS},
            "needs": [plan, build],
            "rules": flat,
            "variables": _variables("CONFIG", "ALLOW_UNPROVEN"),
            "parallel": {"matrix": [{"PY_PORTABLE_IMAGE": _input("images")}]},
            "script": [jobs.INSIDE],
            "artifacts": {**jobs.SHARD_ARTIFACTS, "expire_in": _input("expire-in")},
        },
        f"{prefix} report": {
            "extends": kit,
            "stage": _input("report-stage"),
            "dependencies": [plan, build, f"{prefix} in image"],
            "rules": [{**rule, "when": "always"} for rule in flat],
            "script": [jobs.REPORT],
            "artifacts": {**jobs.REPORT_ARTIFACTS, "expire_in": _input("expire-in")},
        },
    }
    return f"{_HEAD}{_dump({'spec': {'inputs': _typed()}})}---\n{_dump(told)}"


def _typed() -> dict[str, Any]:
    return {name: {"type": "string", **rest} for name, rest in INPUTS.items()}


def _input(name: str) -> str:
    assert name in INPUTS
    return f"$[[ inputs.{name} ]]"


_VARIABLES = {
    "CONFIG": "config",
    "ENGINE": "engine",
    "KIT": "kit",
    "COMMAND": "command",
    "BUNDLE": "bundle",
    "BUNDLE_SHA256": "bundle-sha256",
    "SHARDS": "shards",
    "PIPELINE": "pipeline",
    "JOB_PREFIX": "job-prefix",
    "JOB_IMAGE": "image",
    "ALLOW_UNPROVEN": "allow-unproven",
}


def _variables(*names: str) -> dict[str, Any]:
    """Inputs as variables, all of them where none is named: as they are, a `$` in them stands for itself."""
    told: dict[str, Any] = {}
    for name in names or _VARIABLES:
        value = _input(_VARIABLES[name])
        # Alone it would stay a boolean, which is no value of a variable.
        value = f"is {value}" if INPUTS[_VARIABLES[name]].get("type") == "boolean" else value
        told[f"PY_PORTABLE_{name}"] = {"value": value, "expand": False}
    return {**told, "PY_PORTABLE_DIST": "dist"}


def _rules(kind: str) -> list[dict[str, str]]:
    return [{"if": f'"{_input("pipeline")}" == "{kind}"'}]


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else '"' if "$[[" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(told: Mapping[str, Any]) -> str:
    """With an empty line between what stands at the margin."""
    parts = [
        yaml.dump({name: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
        for name, value in told.items()
    ]
    return "\n".join(textwrap.dedent(part) for part in parts)
