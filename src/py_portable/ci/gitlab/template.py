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
from py_portable.ci.gitlab import jobs

FILES = ("templates/py-portable.yml", "ci-templates/gitlab/py-portable.yml")
"""Components must lie in `templates/` of a repository's root, and of a component nothing but that file is delivered
(docs.gitlab.com: CI/CD components, directory structure)."""

INPUTS: Mapping[str, Mapping[str, Any]] = {
    "config": {
        "default": "portable.yaml",
        "description": "The path of the config from the root of the repository.",
    },
    "job-prefix": {
        "default": "py-portable",
        "regex": "^[A-Za-z0-9]([A-Za-z0-9._ -]{0,60}[A-Za-z0-9])?$",
        "description": "The beginning of the names of all jobs; different for each config of a repository.",
    },
    "artifacts": {
        "default": "",
        "description": "Use only these artifacts of the config, separated by spaces.",
    },
    "tier": {
        "default": "",
        "options": ["", "pr", "release"],
        "description": "How much of the matrix to run. release (also if empty) runs all of it, pr "
        "leaves out probes and controls.",
    },
    "benchmark": {
        "type": "boolean",
        "default": False,
        "description": "Measure how long artifacts take to start.",
    },
    "cache": {
        "type": "boolean",
        "default": True,
        "description": "Keep the store in the runner's cache between runs.",
    },
    "pipeline": {
        "default": "child",
        "options": ["", "child", "flat"],
        "description": "child: the cells are divided among the jobs of a child pipeline. flat: one "
        "job for each of `images` in this pipeline, for servers before 18.5, where a merge request "
        "does not show the reports of a child.",
    },
    "images": {
        "type": "array",
        "default": ["debian:11"],
        "description": "With `pipeline: flat`: the images, named as in the config. Images of the "
        "config that are not in this list are UNPROVEN.",
    },
    "engine": {
        "default": "native",
        "options": ["", "native", "auto", "bubblewrap", "docker", "podman", "chroot"],
        "description": "What starts cells. native: one job for each image, which runs in that image "
        "and needs `bundle`. Any other engine must work on the runner.",
    },
    "build-engine": {
        "default": "auto",
        "options": ["", "native", "auto", "bubblewrap", "docker", "podman", "chroot"],
        "description": "What builds artifacts. native: one job for each baseline, in its image. "
        "auto: an engine if one works on the runner, otherwise native; the job that plans tries them.",
    },
    "baselines": {
        "type": "array",
        "default": ["debian:11"],
        "description": "With `pipeline: flat` and `build-engine: native`: the images of the "
        "baselines, named as in the config.",
    },
    "image": {
        "default": "python:3.13",
        "description": "The image of all jobs that do not run inside an image of the config. It "
        "needs Python 3.11 or newer, and whatever builds need.",
    },
    "kit": {
        "default": "",
        "description": "The requirement with which pip installs py-portable; if empty, "
        f"py-portable=={__version__}. A URL must contain its digest (#sha256=…).",
    },
    "command": {
        "default": "",
        "description": "The program py-portable, if `image` has it already. Nothing is installed then.",
    },
    "bundle": {
        "default": "",
        "description": "The bundle of py-portable for jobs inside images: a path in the repository, or a URL.",
    },
    "bundle-sha256": {"default": "", "description": "The SHA-256 of `bundle`. Required for a URL."},
    "shards": {
        "default": "",
        "regex": "^[0-9]{0,3}$",
        "description": "The largest number of jobs that start cells; if empty, as many as save time.",
    },
    "allow-unproven": {
        "type": "boolean",
        "default": False,
        "description": "Let the pipeline succeed although cells are UNPROVEN.",
    },
    "build-stage": {"default": "build", "description": "The stage of the jobs that plan and build."},
    "test-stage": {
        "default": "test",
        "description": "The stage of the jobs that start cells; it must be a later one.",
    },
    "report-stage": {
        "default": "deploy",
        "description": "With `pipeline: flat`: the stage of the report, after `test-stage`.",
    },
    "expire-in": {
        "default": "1 week",
        "description": "How long the server keeps the files that jobs pass to each other.",
    },
}

_SCOPE = "mr$CI_MERGE_REQUEST_IID-$CI_COMMIT_REF_SLUG"
"""A merge request may build anything, so it has a store of its own. A stranger may choose the branch's name, but here
the server has turned it into a word of letters, digits and `-`.
"""
_CALLERS = ["interruptible", "retry", "tags", "timeout"]
"""What jobs take from a caller's `default:`. Its image, scripts, services, caches and tokens are for its own jobs."""
_HEAD = f"""\
# py-portable for GitLab CI: build an app's artifacts, start each on every image, report.
#
#   include:
#     - component: $CI_SERVER_FQDN/GROUP/py-portable/py-portable@{__version__}
#       inputs: {{config: portable.yaml}}
#
# or, if the server has no components:
#
#   include:
#     - {{project: GROUP/py-portable, ref: v{__version__}, file: /ci-templates/gitlab/py-portable.yml, inputs: {{…}}}}
#
# docs/gitlab.md explains everything. Made by scripts/make-gitlab-templates; changes here are lost.
"""


def template() -> str:
    """The file's text: the same for both places."""
    prefix = _input("job-prefix")
    kit = f".{prefix} kit"
    plan, build, built = f"{prefix} plan", f"{prefix} build", f"{prefix} build in image"
    in_baseline = {"job": built, "optional": True}
    handed = f"{jobs.HANDED}/"
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
            "cache": [cache("plan")],
            "script": [jobs.PLAN],
            "artifacts": {
                "expire_in": _input("expire-in"),
                "paths": ["dist/plan.json", jobs.PIPELINE, jobs.BUILDER, f"{jobs.KIT}/", handed],
            },
        },
        build: {
            "extends": kit,
            "stage": _input("build-stage"),
            "needs": [plan],
            "rules": [{"when": "on_success"}],
            "cache": [cache("build")],
            "script": [jobs.BUILD],
            "artifacts": {
                "when": "always",
                "expire_in": _input("expire-in"),
                "paths": [f"{handed}build/", "dist/evidence/", "dist/logs/"],
            },
        },
        built: {
            "stage": _input("build-stage"),
            "image": {"name": "$PY_PORTABLE_BASELINE", "entrypoint": [""]},
            "inherit": {"default": _CALLERS},
            "needs": [plan],
            "rules": _rules_of_builds(),
            "variables": _variables("CONFIG", "ARTIFACTS", "TIER", "BENCHMARK", "CACHE"),
            "parallel": {"matrix": [{"PY_PORTABLE_BASELINE": _input("baselines")}]},
            "cache": [cache("build-$CI_NODE_INDEX")],
            "script": [jobs.BUILD_INSIDE],
            "artifacts": {
                "when": "always",
                "expire_in": _input("expire-in"),
                "paths": [f"{handed}build-*/", "dist/evidence/", "dist/logs/"],
            },
        },
        f"{prefix} portability": {
            "stage": _input("test-stage"),
            "inherit": {"default": False},
            "needs": [plan, build],
            "rules": _rules("child"),
            "variables": {jobs.PARENT: "$CI_PIPELINE_ID", jobs.SCOPE: _SCOPE, **_variables()},
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
            "needs": [plan, build, in_baseline],
            "rules": _rules("flat"),
            "variables": _variables("CONFIG", "ALLOW_UNPROVEN"),
            "parallel": {"matrix": [{"PY_PORTABLE_IMAGE": _input("images")}]},
            "script": [jobs.INSIDE],
            "artifacts": {**jobs.SHARD_ARTIFACTS, "expire_in": _input("expire-in")},
        },
        f"{prefix} benchmark": {
            "extends": kit,
            "stage": _input("test-stage"),
            "needs": [plan, build, in_baseline],
            "rules": _rules("flat", "benchmark"),
            "cache": [{**cache("build"), "policy": "pull"}],
            "script": [jobs.BENCHMARK],
            "artifacts": {**jobs.SHARD_ARTIFACTS, "expire_in": _input("expire-in")},
        },
        f"{prefix} report": {
            "extends": kit,
            "stage": _input("report-stage"),
            "dependencies": [plan, build, built, f"{prefix} in image", f"{prefix} benchmark"],
            "rules": _rules("flat"),
            "script": [jobs.REPORT],
            "artifacts": {**jobs.REPORT_ARTIFACTS, "expire_in": _input("expire-in")},
        },
    }
    return f"{_HEAD}{_dump({'spec': {'inputs': _typed()}})}---\n{_dump(told)}"


def cache(job: str) -> dict[str, Any]:
    """The server itself separates the keys of protected branches from those of others."""
    return {
        "key": f"{_input('job-prefix')}-{job}-{_SCOPE}",
        "fallback_keys": [f"{_input('job-prefix')}-{job}-mr-$CI_DEFAULT_BRANCH"],
        "paths": [f"{jobs.CACHE}/"],
        "when": "always",
    }


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
    "ARTIFACTS": "artifacts",
    "TIER": "tier",
    "BENCHMARK": "benchmark",
    "CACHE": "cache",
    "BUILD_ENGINE": "build-engine",
    "PIPELINE": "pipeline",
    "JOB_PREFIX": "job-prefix",
    "JOB_IMAGE": "image",
    "ALLOW_UNPROVEN": "allow-unproven",
}


def _variables(*names: str) -> dict[str, Any]:
    """Inputs as variables; if none is named, all of them. They are used as they are: a `$` in them stands for
    itself.
    """
    told: dict[str, Any] = {}
    for name in names or _VARIABLES:
        value = _input(_VARIABLES[name])
        # Alone it would stay a boolean, which cannot be the value of a variable.
        value = f"is {value}" if INPUTS[_VARIABLES[name]].get("type") == "boolean" else value
        told[f"PY_PORTABLE_{name}"] = {"value": value, "expand": False}
    if "PY_PORTABLE_KIT" in told:
        told["PY_PORTABLE_OWN_KIT"] = f"py-portable=={__version__}"
    return {**told, "PY_PORTABLE_DIST": "dist"}


def _rules(kind: str, asked: str | None = None) -> list[dict[str, str]]:
    """Rules for a job that runs if the pipeline is of this kind (child, if the input is empty) and the other input is
    true. What was built is tested, and what was tested is reported, even if another job failed.
    """
    rule = f'"{_input("pipeline")}" {"==" if kind == "flat" else "!="} "flat"'
    if asked is None:
        return [{"if": rule, "when": "always"}]
    return [{"if": f'{rule} && "{_input(asked)}" == "true"'}]


def _rules_of_builds() -> list[dict[str, str]]:
    """Rules for a job that runs if the pipeline is flat and no engine was named: then the plan's job may choose
    native.
    """
    named = [name for name in INPUTS["build-engine"]["options"] if name not in ("", "auto", "native")]
    unnamed = " && ".join(f'"{_input("build-engine")}" != "{name}"' for name in named)
    return [{"if": f'"{_input("pipeline")}" == "flat" && {unnamed}'}]


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else '"' if "$[[" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(told: Mapping[str, Any]) -> str:
    """The text with an empty line between top-level keys."""
    parts = [
        yaml.dump({name: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
        for name, value in told.items()
    ]
    return "\n".join(textwrap.dedent(part) for part in parts)
