"""The format pex: what the config may say of it, where it is expected to start, and what it is made from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.benchmark.measure import BenchmarkRequest, _default_image
from py_portable.config import Config, ImageSpec
from py_portable.config.pythons import has_python
from py_portable.errors import ConfigError
from py_portable.formats import Made, parse_config
from py_portable.formats.pex import Pex, PexOptions
from py_portable.plan.assemble import assemble, houses
from py_portable.plan.built_wrongly import soname_of
from py_portable.plan.expected import expects
from py_portable.plan.ground import interpreter_pins
from py_portable.project.session import open_session
from py_portable.steps.graph import Step
from py_portable.wheels.making import as_compiled, repair, repair_without
from tests.unit.test_plan import CONFIG, LOCK
from tests.unit.written import written

BOTH = {"format": "pex", "pythons": ["3.11", "3.13"]}


def config(base: Path, artifacts: Any, **changes: Any) -> Config:
    (base / "app").mkdir(exist_ok=True)
    (base / "app" / "pyproject.toml").write_text('[project]\nname = "My.App"\nversion = "1"\n')
    told = CONFIG | {"artifacts": artifacts, "portability": {"images": ["debian:11", "debian:13"]}} | changes
    return parse_config(json.dumps(told).encode(), "portable.yaml", base)


def said(base: Path, artifacts: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config(base, artifacts)
    return caught.value.render()


def test_it_is_made_for_the_pythons_python_or_for_those_it_names(tmp_path: Path) -> None:
    one = config(tmp_path, ["pex"]).artifacts["pex"]
    assert (one.python, one.options) == ("3.13", PexOptions())
    told = config(tmp_path, {"both": BOTH})
    both = told.artifacts["both"]
    assert (both.python, both.options.pythons) == ("3.11", ("3.11", "3.13"))
    assert houses(told) == [("default", "3.11"), ("default", "3.13")]
    assert {"pex", "cpython 3.11", "cpython 3.13"} <= set(interpreter_pins(told))


def test_what_contradicts_itself_or_cannot_be_made_is_told(tmp_path: Path) -> None:
    told = said(tmp_path, {"both": BOTH | {"python": "3.13"}})
    assert "artifacts.both.pythons: not together with python" in told
    assert "is 3.11, but" in said(tmp_path, {"wheels": {"format": "wheelhouse"}, "both": BOTH | {"from": "wheels"}})
    told = said(tmp_path, {"fat": {"format": "pex", "scie": "eager"}})
    assert "artifacts.fat.scie: pex would fetch the tools for this from a forge" in told
    assert "the formats bundle and onefile carry an interpreter" in told


def test_it_is_made_from_the_wheels_and_interpreters_of_all_its_pythons(tmp_path: Path) -> None:
    lock = LOCK.with_house("default/3.11", LOCK.houses["default/3.13"])
    plan = written(assemble(config(tmp_path, {"both": BOTH}), lock))
    made = plan.nodes["artifact both"]
    assert isinstance(made, Step)
    assert made.params["spec"]["pythons"] == ["3.11", "3.13"]
    assert [str(need) for need in made.needs] == [
        "pex tool",
        *("interpreter 3.11 (default)", "interpreter 3.13 (default)"),
        *("wheelhouse 3.11 (default)", "wheelhouse 3.13 (default)"),
    ]
    assert set(made.scripts) == {"build/pex.py", "build/app.py", "build/metadata.py", "build/programs.py"}


@pytest.mark.parametrize(
    ("image", "packages", "has"),
    [
        ("debian:12", (), False),
        ("debian:bookworm-slim", (), False),
        ("debian:12", ("python3",), True),
        ("debian:12", ("libpq5", "python3"), True),
        ("debian:11", ("python3",), False),
        ("debian:11", ("python3.9",), False),
        ("ubuntu:22.04", ("python3", "python3.11"), True),
        # Of these nobody knows what they bring.
        ("debian:12", ("gdb",), None),
        ("debian:11", ("libpq5", "python3"), None),
        ("debian:14", ("python3",), None),
        ("python:3.11", (), None),
        ("registry.example/team/debian:12", (), None),
    ],
)
def test_a_python_is_on_an_image_whose_name_and_packages_tell_it(
    image: str, packages: tuple[str, ...], has: bool | None
) -> None:
    assert has_python(ImageSpec(image, packages=packages), ("3.11", "3.14")) is has


def test_it_has_to_fail_where_there_is_no_such_python(tmp_path: Path) -> None:
    images = [
        "debian:12",
        {"image": "debian:12", "packages": ["python3"]},
        {"image": "alpine:3.22", "expect": "fail:exit"},
    ]
    told = config(tmp_path, {"new": {"format": "pex"}, "both": BOTH}, portability={"images": images})
    expected = {
        name: [expects(artifact, spec) for spec in told.portability.images] for name, artifact in told.artifacts.items()
    }
    assert expected == {
        "new": ["fail:interpreter", "fail:interpreter", "fail:exit"],
        "both": ["fail:interpreter", "pass", "fail:exit"],
    }


def test_the_control_is_the_same_artifact_of_wheels_as_they_were_compiled(tmp_path: Path) -> None:
    with_python: dict[str, Any] = {"image": "debian:12", "packages": ["python3"]}
    images = [with_python, {"image": "debian:bookworm", "packages": ["python3", "libpq5"]}]
    portability = {"images": ["debian:12", *images], "controls": ["unrepaired"]}
    lock = LOCK.with_house("default/3.11", LOCK.houses["default/3.13"])
    told = config(tmp_path, {"new": {"format": "pex"}, "both": BOTH}, portability=portability)
    plan = written(assemble(told, lock))
    (control,) = plan.controls
    assert (control.artifact, control.reason) == ("both", "library")
    assert (control.fails_on, control.passes_on) == ("debian:12+python3", "debian:bookworm+libpq5+python3")
    artifact, wrong = plan.nodes["artifact both"], plan.nodes[control.node]
    assert isinstance(artifact, Step) and isinstance(wrong, Step)
    assert (wrong.action, wrong.params, wrong.image) == (artifact.action, artifact.params, artifact.image)
    assert wrong.needs[:3] == artifact.needs[:3]
    for right, bare in zip(artifact.needs[3:], wrong.needs[3:], strict=True):
        repaired, compiled = plan.nodes[right], plan.nodes[bare]
        assert isinstance(repaired, Step) and isinstance(compiled, Step)
        assert (repaired.action, compiled.action) == (repair, repair_without)
        assert compiled.params == {**repaired.params, "lacks": ["libpq.so.5"]}
        assert repaired.needs == compiled.needs


def test_where_a_package_tells_of_no_library_the_control_has_no_repair_at_all(tmp_path: Path) -> None:
    images = [{"image": "debian:13", "packages": ["python3", *more]} for more in ((), ("postgresql-client",))]
    told = config(tmp_path, {"new": {"format": "pex"}}, portability={"images": images, "controls": ["unrepaired"]})
    plan = written(assemble(told, LOCK))
    (control,) = plan.controls
    assert control.brings == ("postgresql-client",)
    wrong = plan.nodes[control.node]
    assert isinstance(wrong, Step)
    actions = [node.action for need in wrong.needs if isinstance(node := plan.nodes[need], Step)]
    assert as_compiled in actions and repair_without not in actions


@pytest.mark.parametrize(
    ("package", "soname"),
    [
        ("libpq5", "libpq.so.5"),
        ("libssl1.1", "libssl.so.1.1"),
        ("libcurl4t64", "libcurl.so.4"),
        ("libgsasl7", "libgsasl.so.7"),
        ("libtag1-dev", None),
        ("postgresql-client", None),
        ("python3.11", None),
        ("libxml2-0.9", None),
    ],
)
def test_the_package_of_a_library_tells_its_soname(package: str, soname: str | None) -> None:
    assert soname_of(package) == soname


@pytest.mark.parametrize(
    ("artifacts", "images", "why"),
    [
        ({"w": {"format": "wheelhouse"}}, ["debian:12"], "no artifact has a format that can be made of wheels"),
        ({"both": BOTH}, ["debian:12", {"image": "debian:12", "packages": ["python3"]}], "with more packages"),
    ],
)
def test_a_control_that_cannot_be_is_left_out_with_the_reason(
    tmp_path: Path, artifacts: Any, images: Any, why: str
) -> None:
    told = config(tmp_path, artifacts, portability={"images": images, "controls": ["unrepaired"]})
    lock = LOCK.with_house("default/3.11", LOCK.houses["default/3.13"])
    (left_out,) = assemble(told, lock).left_out
    assert str(left_out) == "control unrepaired" and why in left_out.why


def test_it_is_one_file_that_says_when_it_finds_no_python(tmp_path: Path) -> None:
    start = Pex().start(Made("a", "pex", tmp_path / "app.pex", {}))
    assert (start.program, start.is_elf, [bind.source for bind in start.binds]) == (
        *("/opt/app/app.pex", False),
        [tmp_path / "app.pex"],
    )
    assert start.seeks and start.fills


def test_what_is_measured_starts_where_it_is_expected_to(tmp_path: Path) -> None:
    images = ["debian:11", {"image": "debian:12", "packages": ["python3"]}, "debian:13"]
    artifacts = {"both": {"format": "pex", "pythons": ["3.11", "3.13"]}, "tree": {"format": "bundle"}}
    told = config(tmp_path, artifacts, portability={"images": images})
    (tmp_path / "portable.yaml").write_text(
        json.dumps(CONFIG | {"artifacts": artifacts, "portability": {"images": images}})
    )
    session = open_session(tmp_path / "portable.yaml")
    assert session.config.artifacts == told.artifacts
    assert _default_image(session, BenchmarkRequest()) == "debian:12+python3"
    assert _default_image(session, BenchmarkRequest(("tree",))) == "debian:12+python3"
    bare = replace(session, config=config(tmp_path, artifacts, portability={"images": ["debian:11", "debian:13"]}))
    assert _default_image(bare, BenchmarkRequest(("tree",))) == "debian:13"
    with pytest.raises(ConfigError, match="no image where every artifact is expected to pass"):
        _default_image(bare, BenchmarkRequest())
