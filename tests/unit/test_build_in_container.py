"""Builds in the container of a job: who asks for it, what is refused, which artifacts are whose, and the first look."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.ci.gitlab import job_files
from py_portable.ci.gitlab.look import choose, decide
from py_portable.cli import main
from py_portable.commands import plan as plan_command
from py_portable.config import Config
from py_portable.engines import select
from py_portable.engines.engine import Job
from py_portable.engines.inside import Inside
from py_portable.engines.lazy import LazyEngine
from py_portable.engines.native import Native
from py_portable.engines.throwaway import ThrowawayVerdict
from py_portable.errors import ConfigError, MachineError
from py_portable.formats import parse_config
from py_portable.images import ImageUnavailable, host
from py_portable.lock.container_baselines import learn
from py_portable.lock.lockfile import Lock
from py_portable.plan.assemble import Plan, image_node
from py_portable.plan.baselines import jobs, of_baseline
from py_portable.plan.ground import WITHOUT_PACKAGES, baseline_node, one_root
from py_portable.project.building import keep_apart
from py_portable.project.session import open_session
from py_portable.steps.context import Context, Environment
from py_portable.steps.graph import ImageNode, Step
from py_portable.steps.runner import Runner
from py_portable.store import Store

CONFIG: dict[str, Any] = {
    "version": 1,
    "app": {"source": "app"},
    "python": "3.13",
    "baselines": {
        "default": {"image": "debian:11"},
        "new": {"image": "debian:12"},
        "many": {"image": "manylinux_2_28", "packages": ["libpq-devel"]},
        "other": {"image": "debian:bookworm", "packages": ["libpq-dev"]},
    },
    "artifacts": {
        "given": {"format": "file", "path": "tools/x"},
        "old": {"format": "bundle"},
        "new": {"format": "bundle", "baseline": "new"},
        "wheels": {"format": "wheelhouse", "baseline": "many"},
    },
    "portability": {"images": ["debian:12"]},
}
NOT_HERE, THROWN_AWAY = ThrowawayVerdict((), ("it is a laptop",)), ThrowawayVerdict(("x",), ())


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    (tmp_path / "portable.yaml").write_text(json.dumps(CONFIG))
    return parse_config(json.dumps(CONFIG).encode(), "portable.yaml", tmp_path)


# --- by name


def test_native_is_never_chosen_but_by_its_name(tmp_path: Path, config: Config) -> None:
    assert "native" not in select.AUTO
    assert not open_session(tmp_path / "portable.yaml").in_container
    # What starts cells says nothing of builds.
    assert not open_session(tmp_path / "portable.yaml", engine="native").in_container
    session = open_session(tmp_path / "portable.yaml", build_engine="native")
    assert session.in_container and session.environment().in_container
    assert isinstance(select.BUILD_ENGINES["native"](None), Inside)
    assert isinstance(select.ENGINES["native"](None), Native)


def test_an_engine_for_builds_and_another_for_cells(tmp_path: Path, config: Config) -> None:
    session = open_session(tmp_path / "portable.yaml", engine="native", build_engine="docker")
    env = session.environment()
    assert (session.engine.on_host, env.on_host, env.in_container) == (True, True, False)
    assert env.engine is session.builder is not session.engine


def test_apps_do_not_start_where_they_are_built(tmp_path: Path, config: Config) -> None:
    session = open_session(tmp_path / "portable.yaml", engine="native", build_engine="native")
    with pytest.raises(ConfigError, match="the container in which they are built"):
        keep_apart(session)
    keep_apart(open_session(tmp_path / "portable.yaml", engine="bubblewrap", build_engine="native"))


def test_a_container_that_has_become_a_baseline_is_no_image_for_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "note").touch()
    monkeypatch.setattr(sys.modules["py_portable.images.host"], "NOTE", tmp_path / "note")
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    with pytest.raises(ImageUnavailable, match="installed packages in this container"):
        host("debian:12")


def test_an_image_with_packages_is_not_the_machine_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    with pytest.raises(ImageUnavailable, match="native installs no packages, but python3"):
        host("debian:12", ("python3",))


@pytest.mark.parametrize("variable", [False, True])
def test_outside_of_a_container_nothing_is_built(
    tmp_path: Path,
    config: Config,
    variable: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is fetched and no lock is written either. This machine is none, whatever CI's variables say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))
    for name in ("CI", "CI_JOB_IMAGE", "CI_DISPOSABLE_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv("PY_PORTABLE_BUILD_ENGINE", "native")
    monkeypatch.setattr("sys.argv", ["py-portable", "build", *([] if variable else ["--build-engine", "native"])])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 3
    assert "does not look like a container that is thrown away" in said and "no variable of a CI says" in said
    assert not (tmp_path / "portable.lock").exists() and not (tmp_path / "store").exists()


def test_the_engine_itself_refuses_another_root_and_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MachineError, match="only in the container in which it runs itself"):
        Inside(tmp_path).run(Job("build", tmp_path, ("true",)), timeout=1)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(MachineError, match="not look like a container that is thrown away"):
        Inside(tmp_path).run(Job("build", Path("/"), ("true",), helpers=tmp_path), timeout=1)
    with pytest.raises(MachineError, match="not look like a container that is thrown away"):
        Inside(tmp_path).probe()


def test_an_engine_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="no engine named x"):
        LazyEngine("x", Path, builds_only=True).probe()


# --- one root for all steps


def test_steps_run_one_after_another_where_they_share_a_root(tmp_path: Path) -> None:
    """What runs beside a step would be taken for what the step left."""
    running: list[str] = []

    def alone(ctx: Context) -> None:
        running.append(ctx.name)
        assert running == [ctx.name]
        running.remove(ctx.name)

    steps = {
        name: Step(name, alone, {"text": name}, lane=lane)
        for name, lane in (("a", "io"), ("b", "io"), ("c", "cores"), ("d", "io"))
    }
    env = Environment(Store(tmp_path / "store"), Native(), epoch=0, jobs=1, in_container=True)
    report = Runner(env, lambda *_: None).run(steps, list(steps))
    assert not report.failures and len(report.results) == 4


# --- a job for each baseline


def test_each_baseline_that_something_is_built_in_is_a_job(config: Config) -> None:
    assert [(job.name, job.image, job.artifacts) for job in jobs(config)] == [
        ("default", "debian:11", ("given", "old")),
        ("new", "debian:12", ("new",)),
        ("many", "manylinux_2_28", ("wheels",)),
    ]
    assert [job.name for job in jobs(config, ("given", "wheels"))] == ["many"]
    assert jobs(config, ("wheels", "given"))[0].artifacts == ("given", "wheels")
    assert jobs(config, ("given",)) == ()


def test_a_baseline_by_its_name_or_its_image(config: Config) -> None:
    assert of_baseline(config, "new") == of_baseline(config, "debian:bookworm") == ("new",)
    assert of_baseline(config, "manylinux_2_28") == ("wheels",)
    for unknown in ("other", "debian:13", ""):
        with pytest.raises(ConfigError) as caught:
            of_baseline(config, unknown)
        assert "default (debian:11)" in str(caught.value.hint)


def test_an_image_of_two_baselines_is_named_by_the_baseline(tmp_path: Path, config: Config) -> None:
    told = json.loads(json.dumps(CONFIG))
    told["artifacts"]["more"] = {"format": "bundle", "baseline": "other"}
    two = parse_config(json.dumps(told).encode(), "portable.yaml", tmp_path)
    with pytest.raises(ConfigError, match="new, other have the image debian:12"):
        of_baseline(two, "debian:12")
    assert of_baseline(two, "other") == ("more",)


def test_jobs_of_a_child_name_images_by_digest_where_the_lock_knows_it(tmp_path: Path, config: Config) -> None:
    digest = "sha256:" + "1" * 64
    session = open_session(tmp_path / "portable.yaml")
    plan = Plan({}, dict.fromkeys(CONFIG["artifacts"]), {}, (), ())
    lock = Lock(origins={"manylinux_2_28": digest})
    told = {build.name: build.image for build in plan_command._builds(session, lock, plan)}
    assert (told["default"], told["new"]) == ("debian:11", "debian:12")
    assert told["many"].startswith("quay.io/pypa/manylinux_2_28_") and told["many"].endswith(f"@{digest}")


def test_what_several_build_jobs_hand_on_is_taken_together(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dist = Path("dist")
    for baseline in ("default", "new"):
        (dist / baseline).mkdir(parents=True)
        (dist / baseline / "made").write_text(baseline)
        job_files.hand_on("build", Path("portable.yaml"), dist, lambda text: None, baseline=baseline)
        shutil.rmtree(dist)
    assert len(list((tmp_path / ".py-portable/handed").iterdir())) == 2
    said: list[str] = []
    job_files.take(Path("portable.yaml"), dist, said.append)
    assert {path.parent.name for path in dist.rglob("made")} == {"default", "new"}
    assert said[0].count("build-") == 2


# --- steps that share a root


def test_there_is_one_image_where_steps_share_the_container() -> None:
    whole = ImageNode(baseline_node("x"), "debian:12", ("libpq-dev",), "true", needs=("compilers",))
    bare = ImageNode(replace(whole.name, variant=WITHOUT_PACKAGES), "debian:12", needs=("compilers",))
    other = ImageNode(image_node("debian:12"), "debian:12")
    made = one_root({node.name: node for node in (whole, bare, other)})
    assert made[bare.name] == replace(whole, name=bare.name)
    assert (made[whole.name], made[other.name]) == (whole, other)


# --- the lock of containers


def test_a_container_that_is_another_one_than_was_locked() -> None:
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    said: list[str] = []
    lock = learn(Lock(images={"baseline x": first}), {"debian:12": first}, said.append)
    assert lock.images == {"baseline x": first, "container debian:12": first} and not said
    assert learn(lock, {"debian:12": first}, said.append, locked_in="portable.lock") == lock
    assert learn(lock, {"debian:12": second}, said.append).images["container debian:12"] == second
    assert "has changed since" in said[0]
    with pytest.raises(ConfigError, match="its system, its glibc or its packages are different"):
        learn(lock, {"debian:12": second}, said.append, locked_in="portable.lock")


# --- the first look


@pytest.mark.parametrize(
    ("needed", "trouble", "container", "chosen", "words"),
    [
        (False, None, THROWN_AWAY, "auto", ""),
        (False, "no engine", THROWN_AWAY, "auto", ""),
        (True, None, THROWN_AWAY, "auto", ""),
        (True, "no engine", THROWN_AWAY, "native", "(build-engine: native), because no engine"),
        # A runner of machines: a job there is in no image, and fails with what it lacks.
        (True, "no engine", NOT_HERE, "auto", "it is a laptop"),
    ],
)
def test_what_builds_on_a_runner(
    needed: bool, trouble: str | None, container: ThrowawayVerdict, chosen: str, words: str
) -> None:
    said: list[str] = []
    assert decide(needed, trouble, container, said.append) == chosen
    assert words in "".join(said) and bool(said) == bool(words)


@pytest.mark.parametrize("asked", ["native", "docker", "chroot"])
def test_an_engine_that_was_asked_for_is_not_looked_at(asked: str, tmp_path: Path) -> None:
    assert choose(tmp_path / "there-is-none.yaml", asked, print) == asked


def test_without_anything_to_build_no_engine_is_started(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("py_portable.ci.gitlab.look._engine", lambda: pytest.fail("it was started"))
    told = {**CONFIG, "artifacts": {"given": CONFIG["artifacts"]["given"]}}
    (tmp_path / "portable.yaml").write_text(json.dumps(told))
    assert choose(tmp_path / "portable.yaml", "", print) == "auto"
