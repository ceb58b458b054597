"""The doctor installs through dnf, zypper and pacman: those that Debian packages, on a machine that says it is theirs.

Their repositories lie on its disk, with packages that hold nothing; the names are the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import REPOSITORY
from tests.stock.machine import Machine, stock

pytestmark = pytest.mark.integration

TOOLS = ("createrepo-c", "dnf", "libarchive-tools", "makepkg", "pacman-package-manager", "rpm", "zstd", "zypper")
PACKAGES = {"bubblewrap": "", "shadow": "", "shadow-utils": "", "skopeo": "skopeo-common", "skopeo-common": ""}
SPEC = """Name: {name}
Version: 1.0
Release: 1
Summary: nothing
License: none
BuildArch: noarch
{requires}
%description
nothing
%files
"""
INFO = """pkgname = {name}
pkgbase = {name}
pkgver = 1-1
pkgdesc = nothing
url = nowhere
builddate = 1
packager = nobody
size = 1
arch = any
{requires}
"""
MAKE = """set -e
cd /srv
for spec in specs/*; do rpmbuild --quiet --define "_topdir /srv/rpmbuild" -bb "$spec"; done
mkdir /repo && cp rpmbuild/RPMS/noarch/*.rpm /repo && createrepo_c --quiet /repo
cd infos
for name in *; do (cd "$name" && bsdtar -cf - .PKGINFO | zstd -q >"../$name-1-1-any.pkg.tar.zst"); done
repo-add --quiet core.db.tar.gz ./*.zst
mkdir -p /etc/dnf && rpm --initdb
zypper --quiet --non-interactive addrepo --no-gpgcheck dir:///repo local
"""
FIX = """
import dataclasses, sys
from py_portable import doctor
from py_portable.doctor import needs
here = dataclasses.replace(doctor.observe(), files=frozenset(["/etc/ssl/certs/ca-certificates.crt"]))
found = needs.system(here)
print(doctor.cure(here, found))
print(doctor.fix(found, here, lambda line: print(line)))
"""
EXPECTED = {
    "fedora": (
        "dnf install --assumeyes bubblewrap skopeo\nTo be installed by dnf: bubblewrap skopeo skopeo-common\n",
        "rpm -qa | sed s/-1.0-1.noarch//",
    ),
    "opensuse-tumbleweed": (
        "zypper --non-interactive install bubblewrap skopeo\n"
        "To be installed by zypper: bubblewrap skopeo skopeo-common\n",
        "rpm -qa | sed s/-1.0-1.noarch//",
    ),
    "arch": (
        "pacman -Sy --noconfirm && pacman -S --needed --noconfirm bubblewrap skopeo\n"
        "Fetching the lists of packages: pacman -Sy --noconfirm\n"
        "To be installed by pacman: bubblewrap skopeo-common skopeo\n",
        "pacman -Qq",
    ),
}
LIKE = {"fedora": "", "opensuse-tumbleweed": "opensuse suse", "arch": ""}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with stock("laptop-bare") as found:
        words = ["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", *TOOLS]
        found.check(words, user="root", env={"DEBIAN_FRONTEND": "noninteractive"})
        for name, requires in PACKAGES.items():
            files = {f"specs/{name}": (SPEC, "Requires: "), f"infos/{name}/.PKGINFO": (INFO, "depend = ")}
            for path, (text, needs) in files.items():
                place = found.path(f"/srv/{path}")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text.format(name=name, requires=f"{needs}{requires}" if requires else ""))
        found.check(["sh", "-c", MAKE], user="root")
        local = found.path("/etc/yum.repos.d/local.repo")
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text("[local]\nname=local\nbaseurl=file:///repo\ngpgcheck=0\n")
        pacman = "[options]\nArchitecture = auto\nSigLevel = Never\n[core]\nServer = file:///srv/infos\n"
        found.path("/etc/pacman.conf").write_text(pacman)
        # Lists of packages belong to one manager; apt has no part in this from here on.
        found.check(["sh", "-c", "rm -r /var/lib/apt/lists"], user="root")
        found.copy(REPOSITORY / "src" / "py_portable", "/srv/kit/py_portable", user="root")
        yield found


@pytest.mark.parametrize("system", EXPECTED)
def test_it_lists_and_installs_through_the_systems_own_manager(machine: Machine, system: str) -> None:
    machine.path("/etc/os-release").unlink()
    machine.path("/etc/os-release").write_text(f'ID={system}\nID_LIKE="{LIKE[system]}"\n')
    shown, listing = EXPECTED[system]
    fixed = machine.run(["python3", "-c", FIX], user="root", env={"PYTHONPATH": "/srv/kit"})
    assert (fixed.status, fixed.stdout) == (0, f"{shown}True\n"), fixed.said
    assert {"bubblewrap", "skopeo"} <= set(machine.check(["sh", "-c", listing], user="root").split())
    if "rpm" in listing:
        machine.check(["rpm", "-e", "bubblewrap", "skopeo", "skopeo-common"], user="root")


@pytest.mark.parametrize("system", EXPECTED)
def test_a_package_that_no_repository_has_is_named_with_the_cure(machine: Machine, system: str) -> None:
    tool = {"fedora": "dnf", "opensuse-tumbleweed": "zypper", "arch": "pacman"}[system]
    code = (
        "from py_portable.doctor import consent, managers, provision\n"
        "from py_portable.errors import MachineError\n"
        f"work = provision.Provisioning(managers.MANAGERS[{tool!r}], ('nothere',), (), 'the line')\n"
        "try:\n    provision.do(work, consent.May(), print, bool)\n"
        "except MachineError as problem:\n    print(problem.render())\n"
    )
    told = machine.run(["python3", "-c", code], user="root", env={"PYTHONPATH": "/srv/kit"})
    assert "Error: installing nothere failed with status " in told.stdout, told.said
    assert ": this system's repositories have no such package\n" in told.stdout
    assert "nothere" in told.stdout.partition("\n  | ")[2]
    assert told.stdout.endswith("or update the system\n        the line\n")
