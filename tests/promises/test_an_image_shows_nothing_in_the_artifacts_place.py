"""What a cell starts is the artifact. An image whose links lead the artifact's place to the kit's own helpers makes its
cells UNPROVEN (engine), on every engine that has images."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_portable.config import Smoke
from py_portable.engines import static_helpers
from py_portable.engines.engine import Bind, Job
from py_portable.engines.stage import Overlap, apart
from tests.promises.starts import app, compile_say, empty_root, prove


def root_with(folder: Path, **links: str) -> Path:
    root = empty_root(folder / "root")
    (root / "run").mkdir()
    for name, target in links.items():
        place = root / name.replace("_", "/")
        if place.is_dir():
            place.rmdir()
        place.symlink_to(target)
    return root


@pytest.mark.parametrize(
    "links",
    [
        {"opt_app": "/run/py-portable"},
        {"opt_app": "../run/py-portable/../py-portable"},
        {"opt": "/run/py-portable"},
        {"run_py-portable": "/opt/app"},
        {"run_py-portable": "/opt"},
        {"run_py-portable": "/opt/app/tool"},
    ],
)
def test_places_that_overlap_behind_links_are_refused(tmp_path: Path, links: dict[str, str]) -> None:
    root = root_with(tmp_path, **links)
    binds = (Bind(tmp_path, "/opt/app/tool"), Bind(tmp_path, "/run/py-portable"))
    with pytest.raises(Overlap, match="the image leads /"):
        apart(Job(profile="proof", root=root, argv=("x",), binds=binds))


@pytest.mark.parametrize("links", [{}, {"opt_app": "/usr/app"}, {"run_py-portable": "/usr/kit"}, {"opt": "/usr"}])
def test_links_that_lead_elsewhere_do_no_harm(tmp_path: Path, links: dict[str, str]) -> None:
    root = root_with(tmp_path, **links)
    # One in the other by their names is meant so.
    binds = (Bind(tmp_path, "/opt/app"), Bind(tmp_path, "/opt/app/tool"), Bind(tmp_path, "/run/py-portable"))
    assert len(apart(Job(profile="proof", root=root, argv=("x",), binds=binds))) == 3


@pytest.mark.integration
@pytest.mark.parametrize("name", ["bubblewrap", "chroot", "docker", "podman"])
def test_the_kits_own_canary_is_not_started_as_the_artifact(
    tmp_path: Path, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("docker", "podman"):
        for variable, value in request.getfixturevalue(name).items():
            monkeypatch.setenv(variable, value)
    tmp_path.chmod(0o755)
    say = compile_say(tmp_path)
    static_helpers.put(tmp_path / "helpers")
    root = root_with(tmp_path, opt_app="/run/py-portable")
    for number, own in enumerate(("canary", "cell-run")):
        place = tmp_path / str(number)
        place.mkdir(mode=0o755)
        # Where the artifact is one file, it would lie at the helper's very place.
        start = app(place, say, own)
        start = type(start)(f"/opt/app/{own}", (Bind(place / own / own, f"/opt/app/{own}"),), is_elf=True)
        (cell,) = prove(place, name, tmp_path / "helpers", root, [(start, Smoke(()))])
        assert (cell.verdict, cell.reason) == ("UNPROVEN", "engine"), cell
        assert "the image leads /opt/app" in (cell.detail or "")
