"""The action on a hosted runner as it is: from nothing to a green run, by an ordinary user, with docker; and what is
said there where something is refused."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from py_portable.images.find import resolve
from py_portable.store import Store, default_root
from tests.integration import registry
from tests.integration.github import ACT, APP, STAND_INS, Server, copy_of_the_kit, example, sharded
from tests.stock import outside
from tests.stock.machine import Machine, Ran, recorded, stock

pytestmark = pytest.mark.integration

SMALL_REAL_APP = Path(__file__).parents[1] / "stock" / "app"
HOME = "/home/runner"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registry.Registry]:
    """Stands in for the public registry. Its images have this machine's way to apt's mirrors baked in, as the public
    ones have theirs."""
    folder = tmp_path_factory.mktemp("public")
    store = Store(default_root(os.environ))
    apt = {name.removeprefix("/"): data for name, data in outside.files() if name.startswith("/etc/apt/apt.conf.d")}
    with registry.Registry(folder / "registry", tls=False, login=False) as server:
        for number in ("12", "13"):
            layers = [registry.root_layer(resolve(f"debian:{number}", store=store).root), registry.tar_layer(apt)]
            server.image(f"library/debian:{number}", layers, folder / f"layout-{number}")
        yield server


@pytest.fixture(scope="module")
def machine(public: registry.Registry) -> Iterator[Machine]:
    with stock("hosted-ubuntu-like") as found:
        place = found.path("/etc/containers/registries.conf.d/stand-in.conf")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f'[[registry]]\nlocation = "{public.host}"\ninsecure = true\n')
        yield found


@pytest.fixture(scope="module")
def kit(machine: Machine) -> Path:
    """The kit's checkout, act, and stand-ins for the actions of others: all that is brought into the machine."""
    folder = machine.path(f"{HOME}/brought")
    folder.mkdir()
    shutil.copy2(ACT, folder / "act")
    shutil.copytree(STAND_INS, folder / "actions")
    found = copy_of_the_kit(folder / "kit" / "py-portable")
    machine.check(["chown", "-R", "runner:", f"{HOME}/brought"], user="root")
    return found


def serve(machine: Machine, public: registry.Registry, kit: Path, name: str, app: Path) -> Server:
    folder = machine.path(f"{HOME}/{name}")
    folder.mkdir()
    server = Server(
        folder,
        kit,
        act=kit.parents[1] / "act",
        stand_ins=kit.parents[1] / "actions",
        machine=machine,
        env={"PY_PORTABLE_MIRRORS": f"docker.io/={public.host}/"},
    )
    shutil.rmtree(server.app)
    shutil.copytree(app, server.app)
    return server


def test_from_nothing_to_a_green_run_with_one_job(
    machine: Machine, public: registry.Registry, kit: Path, tmp_path: Path
) -> None:
    server = serve(machine, public, kit, "one", SMALL_REAL_APP)
    with recorded(machine) as records:
        ran = server.workflow(example("one-job.yml"))
    assert ran.status == 0, ran.log
    found = ran.evidence(tmp_path / "out")
    cells = {(cell["image"], cell["verdict"], cell["image_source"], cell["isolation"]) for cell in found["cells"]}
    assert cells == {(f"debian:{number}", "PASS", "registry", "full") for number in ("12", "13")}
    assert "# PASS: 2 PASS" in ran.summary
    # Which engine, and why not another.
    assert found["host"]["engine"].startswith("docker ")
    assert "kernel.apparmor_restrict_unprivileged_userns=1" in found["host"]["engine_reason"]
    # The first minute says what runs, and for how long.
    for phase in ("fetched what the kit is made of", "set up on Python 3.13", "compiled its modules"):
        assert f"py-portable: {phase}" in ran.log
    assert "py-portable doctor: " in ran.log
    # docker was there, so nothing of the system was changed; what the kit was set up from is gone with the job.
    (record,) = records
    assert (record.packages, record.python) == ((), {})
    # All that is left there is the runner's own, the images in its store too.
    words = ["find", machine.at(server.work), "!", "-user", "runner", "!", "-name", "log"]
    assert machine.check(words, user="root", cwd="/") == ""
    stores = machine.check(["find", machine.at(server.work), "-path", "*/out/owners.json"], user="root", cwd="/")
    assert len(stores.split()) == 3, stores
    server.keep_packages()


@pytest.mark.nightly
def test_many_jobs_hand_on_images_without_owners(
    machine: Machine, public: registry.Registry, kit: Path, tmp_path: Path
) -> None:
    ran = serve(machine, public, kit, "many", APP).workflow(sharded(example("shards.yml")))
    assert ran.status == 0, ran.log
    found = ran.evidence(tmp_path / "out")
    assert [(cell["verdict"], cell["image_source"]) for cell in found["cells"]] == [("PASS", "registry")]
    assert "packed: " in ran.log and ", 1 images" in ran.log
    # The job that only reports is not kept waiting by a look at engines.
    assert ran.log.count("::group::py-portable doctor") == 3


def set_up(
    machine: Machine, kit: Path, *prefix: str, user: str = "runner", temp: str = "refused", **inputs: str
) -> Ran:
    env = {f"PY_PORTABLE_INPUT_{name.upper()}": value for name, value in inputs.items()}
    where = f"{HOME}/{temp}"
    machine.check(["mkdir", "-p", where])
    env |= {"RUNNER_TEMP": where, "CI": "true", "GITHUB_ACTIONS": "true", "HOME": HOME, "GITHUB_OUTPUT": f"{where}/out"}
    return machine.run([*prefix, machine.at(kit / "scripts/ci-github"), "set-up"], user=user, env=env, cwd=HOME)


def refused(ran: Ran, cause: str, cure: str) -> None:
    """Exit status 3, with the cause, the cure and an annotation that names it."""
    text = ran.stdout + ran.stderr
    assert ran.status == 3, ran.said
    assert cause in text and cure in text, text
    assert "::error title=py-portable::" in text
    assert "Traceback" not in text


def test_the_set_up_is_short_and_leaves_nothing_running(machine: Machine, kit: Path) -> None:
    """Bounds of processor time: what else this machine does is not the kit's. docker's part is not in it."""
    taken = []
    for temp in ("cold", "warm"):
        if temp == "warm":
            machine.check(["mkdir", "-p", f"{HOME}/warm/py-portable"])
            machine.check(["cp", "-r", f"{HOME}/cold/py-portable/wheels", f"{HOME}/warm/py-portable"])
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = set_up(machine, kit, temp=temp)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ran.status == 0, ran.said
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert taken[0] <= 30 and taken[1] <= 5, taken
    # unshare may leave a child behind where the kernel refuses the namespace.
    assert machine.run(["pgrep", "--exact", "unshare"]).status == 1


@pytest.fixture
def hidden(machine: Machine) -> Iterator[Mapping[str, str]]:
    """Files of the machine that are out of sight for a test, by what they are for."""
    files = {"docker": "/usr/bin/docker", "rule": "/etc/sudoers.d/runner"}
    for path in files.values():
        machine.path(path).rename(machine.path(f"{path}.hidden~"))
    yield files
    for path in files.values():
        if machine.path(f"{path}.hidden~").exists():
            machine.path(f"{path}.hidden~").rename(machine.path(path))


def test_without_docker_and_sudo_the_cause_and_the_line_are_said(
    machine: Machine, kit: Path, hidden: Mapping[str, str]
) -> None:
    with recorded(machine) as records:
        ran = set_up(machine, kit)
    refused(ran, "nothing was installed: sudo asks for a password, or refuses this user", "sudo apt-get install")
    # Why bubblewrap alone would not do.
    assert "AppArmor forbids" in ran.stdout + ran.stderr
    assert records[0].packages == ()


def test_fix_false_forbids_it(machine: Machine, kit: Path, hidden: Mapping[str, str]) -> None:
    machine.path(f"{hidden['rule']}.hidden~").rename(machine.path(hidden["rule"]))
    assert machine.run(["sudo", "-n", "true"]).status == 0
    with recorded(machine) as records:
        ran = set_up(machine, kit, fix="false")
    refused(ran, "nothing was installed: PY_PORTABLE_NO_FIX=1 forbids it", "sudo apt-get install")
    assert records[0].packages == ()


def test_what_it_may_install_it_lists_before(machine: Machine, kit: Path, hidden: Mapping[str, str]) -> None:
    """AppArmor's rule cannot be lifted here: the kernel has none, and a filter stands for it."""
    machine.path(f"{hidden['rule']}.hidden~").rename(machine.path(hidden["rule"]))
    with recorded(machine) as records:
        ran = set_up(machine, kit)
    text = ran.stdout + ran.stderr
    installed = {name.split()[0] for name in records[0].packages}
    assert {"bubblewrap", "uidmap"} <= installed, text
    lists = ["To be installed by apt-get: bubblewrap", "To be run as root: sysctl -w", "Error: running sysctl failed"]
    assert sorted(map(text.index, lists)) == list(map(text.index, lists))
    refused(ran, "permission denied on key", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")


def test_without_a_python_that_is_new_enough(machine: Machine, kit: Path) -> None:
    cure = "let actions/setup-python bring one, before this"
    refused(set_up(machine, kit, temp="named", python="3.9"), "no Python 3.11 or newer with venv was found", cure)
    programs = sorted(machine.check(["sh", "-c", "ls -d /usr/bin/python3*"]).split())
    try:
        for name in programs:
            machine.path(name).rename(machine.path(f"{name}.hidden~"))
        refused(set_up(machine, kit, temp="none"), "no Python 3.11 or newer with venv was found", cure)
    finally:
        for name in programs:
            machine.path(f"{name}.hidden~").rename(machine.path(name))


def test_without_a_network(machine: Machine, kit: Path) -> None:
    alone = ("unshare", "--net", "--", "setpriv", "--reuid", "runner", "--regid", "runner", "--init-groups", "--")
    ran = set_up(machine, kit, *alone, user="root", temp="alone")
    refused(
        ran,
        "could not be fetched from the package index",
        "let this runner reach the index that pip is configured with",
    )
