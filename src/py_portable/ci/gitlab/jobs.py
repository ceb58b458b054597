"""The shell scripts of GitLab's jobs: the same text for the jobs of the template and of the child pipeline.

All of it is fixed text. What a caller gives comes in by variables, which stand in quotes, and no shell reads a variable
a second time. It is POSIX sh: in an image there may be nothing else.
"""

from __future__ import annotations

FOLDER = ".py-portable"
"""The folder below the project with what jobs pass on that is not a result."""
KIT = f"{FOLDER}/kit"
"""The folder of the kit's own bundle, for jobs inside images."""
PIPELINE = f"{FOLDER}/pipeline.yml"
BUILDER = f"{FOLDER}/build-engine"
"""The file with the name of the engine that builds, which the plan's job writes after it has examined its runner."""
HANDED = f"{FOLDER}/handed"
"""What a job passes on: a tar archive in a folder that is named after the job."""
CACHE = f"{FOLDER}/cache"
"""The store as a tar archive, which keeps owners: without them an image would not be the same image any more."""
PARENT = "PY_PORTABLE_PARENT_PIPELINE"
"""The variable with the parent's pipeline id, which the trigger job must pass on (merge request 47210)."""
SCOPE = "PY_PORTABLE_CACHE_SCOPE"
"""The variable with what tells the caches of branches and merge requests from one another."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ALLOW = """\
set --
case "${PY_PORTABLE_ALLOW_UNPROVEN:-}" in true | 'is true') set -- --allow-unproven ;; esac
"""

SET_UP = """\
PY_PORTABLE_KIT=${PY_PORTABLE_KIT:-${PY_PORTABLE_OWN_KIT:-}}
if [ -z "${PY_PORTABLE_COMMAND:-}" ] && [ -n "$PY_PORTABLE_KIT" ]; then
  python3 -m venv .py-portable/venv
  .py-portable/venv/bin/python -m pip --disable-pip-version-check install --quiet -- "$PY_PORTABLE_KIT"
  PY_PORTABLE_COMMAND=.py-portable/venv/bin/py-portable
fi
PY_PORTABLE_COMMAND=${PY_PORTABLE_COMMAND:-py-portable}
"""
"""Leaves the program's name in PY_PORTABLE_COMMAND: the caller's, one installed from the caller's requirement, or
the one on PATH."""

_CHOSEN = f"""\
IFS= read -r PY_PORTABLE_BUILD_ENGINE <{BUILDER}
export PY_PORTABLE_BUILD_ENGINE
"""

PLAN = f"""\
mkdir -p {FOLDER}
PY_PORTABLE_ENGINE=${{PY_PORTABLE_ENGINE:-native}}
if [ "$PY_PORTABLE_PIPELINE" = flat ]; then PY_PORTABLE_ENGINE=native; fi
export PY_PORTABLE_ENGINE
"$PY_PORTABLE_COMMAND" gitlab store-in
"$PY_PORTABLE_COMMAND" gitlab look >{BUILDER}
{_CHOSEN}if [ "$PY_PORTABLE_ENGINE" = native ] || [ "$PY_PORTABLE_BUILD_ENGINE" = native ]; then
  "$PY_PORTABLE_COMMAND" bring --bundle "$PY_PORTABLE_BUNDLE" --sha256 "$PY_PORTABLE_BUNDLE_SHA256" {KIT}
fi
if [ "$PY_PORTABLE_ENGINE" != native ]; then "$PY_PORTABLE_COMMAND" lock --images; fi
"$PY_PORTABLE_COMMAND" plan --gitlab --job-prefix "$PY_PORTABLE_JOB_PREFIX" --job-image "$PY_PORTABLE_JOB_IMAGE" \
--shards "$PY_PORTABLE_SHARDS" >{PIPELINE}
"$PY_PORTABLE_COMMAND" gitlab hand-on plan
"$PY_PORTABLE_COMMAND" gitlab store-out
"""

_CARRY = """\
case "${PY_PORTABLE_BENCHMARK:-}" in true | 'is true') set -- --carry-all ;; *) set -- --carry ;; esac
PY_PORTABLE_STATUS=0
"""

BUILD = f"""\
{_CHOSEN}if [ "$PY_PORTABLE_BUILD_ENGINE" = native ]; then
  echo 'No engine is used on this runner: jobs in the images of the baselines build the artifacts.'
  exit 0
fi
export PY_PORTABLE_ENGINE="$PY_PORTABLE_BUILD_ENGINE"
"$PY_PORTABLE_COMMAND" gitlab take
"$PY_PORTABLE_COMMAND" gitlab store-in
{_CARRY}"$PY_PORTABLE_COMMAND" build "$@" || PY_PORTABLE_STATUS=$?
"$PY_PORTABLE_COMMAND" gitlab hand-on build
"$PY_PORTABLE_COMMAND" gitlab store-out
exit "$PY_PORTABLE_STATUS"
"""
"""Artifacts are passed on even if another one could not be built, and their cells are started."""

BUILD_INSIDE = f"""\
{_CHOSEN}if [ "$PY_PORTABLE_BUILD_ENGINE" != native ]; then
  echo 'An engine starts on this runner: the artifacts are built already.'
  exit 0
fi
export PY_PORTABLE_ENGINE=native
{KIT}/py-portable gitlab take
{KIT}/py-portable gitlab store-in
{_CARRY}{KIT}/py-portable build "$@" || PY_PORTABLE_STATUS=$?
{KIT}/py-portable gitlab hand-on build
{KIT}/py-portable gitlab store-out
exit "$PY_PORTABLE_STATUS"
"""
"""In the image of a baseline, which PY_PORTABLE_BASELINE names. What fetches needs the job's environment; a build step
gets one made from nothing, and cannot read that of the processes above it, which have more capabilities."""

SHARD = f"""\
{_ALLOW}"$PY_PORTABLE_COMMAND" gitlab take
"$PY_PORTABLE_COMMAND" gitlab store-in
"$PY_PORTABLE_COMMAND" portability --as-made "$@"
"""

BENCHMARK = f"""\
{_CHOSEN}export PY_PORTABLE_ENGINE="$PY_PORTABLE_BUILD_ENGINE"
"$PY_PORTABLE_COMMAND" gitlab take
"$PY_PORTABLE_COMMAND" gitlab store-in
"$PY_PORTABLE_COMMAND" benchmark --as-made
"""

INSIDE = f"""\
{_ALLOW}kit() {{
  env -i PATH={PATH} HOME=/tmp PY_PORTABLE_STORE="$PWD/{FOLDER}/store" \
PY_PORTABLE_CONFIG="${{PY_PORTABLE_CONFIG:-}}" PY_PORTABLE_DIST=dist PY_PORTABLE_ENGINE=native \
PY_PORTABLE_PLAN=dist/plan.json \
PY_PORTABLE_SHARD="${{PY_PORTABLE_SHARD:-$PY_PORTABLE_IMAGE}}" \
{KIT}/py-portable "$@"
}}
kit gitlab take
kit portability --as-made "$@"
"""
"""Of the job's environment, which may hold logins, the kit in an image sees nothing but these. A job that has no
shard's name starts its image's."""

REPORT = f"""\
{_ALLOW}rm -f -- dist/merged.json dist/report.md dist/junit.xml dist/codequality.json
"$PY_PORTABLE_COMMAND" merge "$@" --output dist/merged.json dist/plan.json dist/evidence/parts/*.json || \
test -s dist/merged.json
"$PY_PORTABLE_COMMAND" report "$@" --gitlab dist/merged.json
"""
"""`merge` and `report` end alike where something does not hold: the job goes on to `report`, and ends like it. Where
`merge` refuses there is no file, and the job ends there: a runner that keeps its folders has that of an earlier run."""

SHARD_ARTIFACTS = {"when": "always", "paths": ["dist/evidence/parts/", "dist/logs/"]}
REPORT_ARTIFACTS = {
    "when": "always",
    "paths": ["dist/merged.json", "dist/report.md"],
    "reports": {"junit": "dist/junit.xml", "codequality": "dist/codequality.json"},
}
