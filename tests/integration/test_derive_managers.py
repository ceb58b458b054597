"""dnf, microdnf, yum, zypper and apk as the script calls them: stand-ins note what they were asked.

That the real ones do what they are asked is UNPROVEN here: their repositories cannot be reached from the machines
that run this.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from py_portable.engines import ids
from py_portable.errors import PortableError, StepError
from py_portable.images import Image, ImageUnavailable, Request
from py_portable.images.adding.derive import derive
from py_portable.store import Store
from tests.integration.conftest import bubblewrap

pytestmark = pytest.mark.integration

NEEDED = ("sh", "cat", "rm", "mkdir", "grep", "tar")

# Every stand-in writes a line with its name and words. "known" are packages that there are, "installed" those that
# are in the image; `whatprovides` asks for the latter.
COMMON = """#!/bin/sh
printf '%%s\\n' "${0##*/} $*" >>/var/fake/calls
has() { [ -e "/var/fake/$1/$2" ]; }
add() {
    for name in "$@"; do
        case $name in -*) continue ;; esac
        if has known "$name"; then : >"/var/fake/installed/$name"; continue; fi
        %(unknown)s
    done
}
"""
RPM = """
case " $* " in
*" --all "*)
    cd /var/fake/installed
    for name in *; do printf 'ii\\t%s\\t2.28-251.el8\\tx86_64\\n' "$name"; done ;;
*) for name in "$@"; do :; done; has installed "$name" ;;
esac
"""
DNF = """
case " $* " in *" --whatprovides "*) if has known "$4"; then echo "$4"; fi; exit ;; esac
if [ "$1" = --quiet ]; then printf 'xz-devel\\nlibpq-devel\\n'; exit; fi
cat /etc/dnf/dnf.conf >/var/fake/conf
command=$1; shift
[ "$command" = install ] && add "$@"
"""
ZYPPER = """
case " $* " in
*" --match-exact "*) has known "$6" || exit 104 ;;
*" search "*) printf 'S | Name | Summary | Type\\n--+--\\n  | libpq-devel | x | package\\n' ;;
*" refresh "*) : ;;
*) shift 2; add "$@"; exit 102 ;;
esac
"""
APK = """
case $1 in
info) has installed "$3" ;;
search) if [ "$4" = --exact ]; then ! has known "$5" || echo "$5"; exit; fi; printf 'libpq-dev\\n' ;;
add)
    if [ "$2" = --help ]; then echo "  --force-no-chroot"; exit 1; fi
    shift; add "$@"
    printf 'C:Q1=\\nP:musl\\nV:1.2.5-r0\\nA:x86_64\\nS:9\\n\\nP:jq\\nV:1.7-r0\\nA:x86_64\\n' >/lib/apk/db/installed ;;
esac
"""
SAYS = {
    "dnf": 'echo "No match for argument: $name"; echo "Error: Unable to find a match: $name" >&2; exit 1',
    "microdnf": "echo \"error: No package matches '$name'\" >&2; exit 1",
    "yum": 'echo "No package $name available."',
    "zypper": "echo \"No provider of '$name' found.\"; exit 104",
    "apk": 'echo "ERROR: unable to select packages:"; echo "  $name (no such package):"; exit 1',
    "rpm": ":",
}
TEXTS = {"dnf": DNF, "microdnf": DNF, "yum": DNF, "zypper": ZYPPER, "apk": APK, "rpm": RPM}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """A root with a shell, tar and little else."""
    root = tmp_path / "root"
    for folder in (
        "usr/bin",
        "etc/dnf",
        "etc/yum.repos.d",
        "var/fake/known",
        "var/fake/installed",
        "lib/apk/db",
    ):
        (root / folder).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    for name in NEEDED:
        source = Path(shutil.which(name) or "/nowhere").resolve()
        shutil.copy2(source, root / "usr/bin" / name)
        listed = subprocess.run(["ldd", str(source)], capture_output=True, text=True).stdout
        for word in listed.split():
            if word.startswith("/"):
                place = root / word[1:]
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(word, place)
    (root / "var/fake/calls").touch()
    (root / "etc/dnf/dnf.conf").write_text("[main]\ngpgcheck=1\n")
    (root / "etc/yum.repos.d/all.repo").write_text("[baseos]\n[crb]\nenabled=0\n")
    return Image("almalinux:9", root, "sha256:" + "2" * 64, "registry", "2.27", None, origin="sha256:1")


def give(image: Image, *tools: str, known: tuple[str, ...] = (), installed: tuple[str, ...] = ()) -> None:
    for tool in tools:
        path = image.root / "usr/bin" / tool
        path.write_text(COMMON % {"unknown": SAYS[tool]} + TEXTS[tool])
        path.chmod(0o755)
    for folder, names in (("known", known), ("installed", installed)):
        for name in names:
            (image.root / "var/fake" / folder / name).touch()


def add(image: Image, tmp_path: Path, **wishes: object) -> Image:
    request = Request(image.name, engine=bubblewrap(), **wishes)  # type: ignore[arg-type]
    return derive(image, request, Store(tmp_path / "store"), ids.prefix(), environ={"SSL_CERT_FILE": __file__})


def calls(image: Image) -> list[str]:
    """What was asked of the managers, without the questions to rpm."""
    lines = (image.root / "var/fake/calls").read_text().splitlines()
    return [line for line in lines if not line.startswith("rpm ")]


def test_dnf_installs_what_is_missing(image: Image, tmp_path: Path) -> None:
    give(image, "dnf", "yum", "rpm", known=("gcc-c++", "gcc", "jq"), installed=("make", "glibc"))
    made = add(image, tmp_path, packages=("jq",), needs=("compilers",))
    # ccache is wanted, not needed, and these repositories have none.
    assert calls(made) == [
        "dnf install -y --enablerepo=crb --setopt=install_weak_deps=0 gcc gcc-c++ jq",
        "dnf install -y --enablerepo=crb --setopt=install_weak_deps=0 ccache",
    ]
    assert [name for name, _, _ in made.packages] == ["gcc", "gcc-c++", "glibc", "jq", "make"]
    assert made.glibc == "2.28" and made.origin == "sha256:1"
    # The machine's certificates are told to dnf for the time being only.
    assert "sslcacert=/kit/ca.crt" in (made.root / "var/fake/conf").read_text()
    assert (made.root / "etc/dnf/dnf.conf").read_text() == "[main]\ngpgcheck=1\n"


def test_programs_on_the_path_of_the_image_stand_for_packages(image: Image, tmp_path: Path) -> None:
    give(image, "dnf", "rpm", known=("make",))
    tools = image.root / "opt/rh/gcc-toolset-14/bin"
    tools.mkdir(parents=True)
    for name in ("gcc", "g++"):
        shutil.copy2(image.root / "usr/bin/cat", tools / name)
    own = dataclasses.replace(image, env={"PATH": "/opt/rh/gcc-toolset-14/bin:/usr/bin:/bin"})
    made = add(own, tmp_path, needs=("compilers",))
    assert calls(made)[0].endswith("install_weak_deps=0 make")
    assert made.env == own.env
    assert add(made, tmp_path, needs=("compilers",)) == made
    # What the user asks for by name is a package, whatever is on the PATH.
    with pytest.raises(StepError, match="has no package gcc"):
        add(own, tmp_path, packages=("gcc",))


@pytest.mark.parametrize("tool", ["microdnf", "yum"])
def test_dnf_by_its_other_names(image: Image, tmp_path: Path, tool: str) -> None:
    give(image, tool, "rpm", known=("jq",))
    made = add(image, tmp_path, packages=("jq",))
    weak = "--setopt=install_weak_deps=0 " if tool == "microdnf" else ""
    assert calls(made) == [f"{tool} install -y --enablerepo=crb {weak}jq"]


def test_zypper(image: Image, tmp_path: Path) -> None:
    give(image, "zypper", "rpm", known=("gcc", "gcc-c++", "make", "ccache"))
    made = add(image, tmp_path, needs=("compilers",))
    install = "zypper --non-interactive install --no-recommends --auto-agree-with-licenses"
    assert calls(made) == [
        "zypper --non-interactive refresh",
        f"{install} gcc gcc-c++ make",
        f"{install} ccache",
    ]
    assert [name for name, _, _ in made.packages] == ["ccache", "gcc", "gcc-c++", "make"]


def test_apk(image: Image, tmp_path: Path) -> None:
    give(image, "apk", known=("jq",))
    (image.root / "lib/apk/db/installed").write_text("P:musl\nV:1.2.5-r0\nA:x86_64\n")
    alpine = dataclasses.replace(image, name="alpine:3.22", glibc=None)
    made = add(alpine, tmp_path, packages=("jq",), before="command -v apk >/var/fake/known/before")
    assert "apk add --no-cache --no-progress --force-no-chroot jq" in calls(made)
    assert made.packages == (("jq", "1.7-r0", ""), ("musl", "1.2.5-r0", ""))
    assert made.glibc is None
    assert (made.root / "var/fake/known/before").read_text() == "/usr/bin/apk\n"


@pytest.mark.parametrize("tool", ["dnf", "zypper", "apk"])
def test_of_what_an_artifact_depends_on_only_what_the_repositories_have(
    image: Image, tmp_path: Path, tool: str
) -> None:
    give(image, tool, *(() if tool == "apk" else ("rpm",)), known=("libpq", "git"), installed=("git",))
    made = add(image, tmp_path, if_there=("libpq", "git", "libold"))
    (added,) = (line for line in calls(made) if " libpq" in line and (" install " in line or " add " in line))
    assert added.endswith(" libpq")
    assert add(made, tmp_path, if_there=("libpq", "git")) == made


@pytest.mark.parametrize("tool", ["dnf", "microdnf", "yum", "zypper", "apk"])
def test_an_unknown_package(image: Image, tmp_path: Path, tool: str) -> None:
    give(image, tool, *(() if tool == "apk" else ("rpm",)))
    with pytest.raises(StepError) as caught:
        add(image, tmp_path, packages=("libpqdevel",))
    assert caught.value.what == "almalinux:9 has no package libpqdevel"
    near = {"dnf": "libpq-devel", "zypper": "libpq-devel", "apk": "libpq-dev"}.get(tool)
    assert caught.value.hint == (f"did you mean {near}?" if near else "see the packages of the baseline in the config")


@pytest.mark.parametrize(
    ("tool", "says", "kind", "said"),
    [
        (
            "dnf",
            "Curl error (6): Couldn't resolve host name for https://repo.test/x",
            ImageUnavailable,
            "reached",
        ),
        (
            "zypper",
            "Download (curl) error for x: Error code: HTTP response: 503",
            ImageUnavailable,
            "reached",
        ),
        ("apk", "WARNING: fetching x: temporary error (try again later)", ImageUnavailable, "reached"),
        ("dnf", "Error: GPG check FAILED", PortableError, "signature"),
        ("dnf", "Problem: nothing provides libfoo.so needed by jq", StepError, "cannot be installed together"),
    ],
)
def test_other_failures(
    image: Image, tmp_path: Path, tool: str, says: str, kind: type[PortableError], said: str
) -> None:
    give(image, tool, *(() if tool == "apk" else ("rpm",)))
    path = image.root / "usr/bin" / tool
    path.write_text(path.read_text().replace("add() {", f'add() {{\necho "{says}" >&2; exit 1'))
    with pytest.raises(kind, match=said):
        add(image, tmp_path, packages=("jq",))


def test_an_image_without_a_manager_takes_a_script_only(image: Image, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no known package manager"):
        add(image, tmp_path, packages=("jq",))
    assert add(image, tmp_path, if_there=("jq",)) == image
    made = add(image, tmp_path, before="echo yes >/opt.txt")
    assert (made.root / "opt.txt").read_text() == "yes\n"
    assert made.packages == () and made.glibc == "2.27"


def test_an_archive_that_is_a_link_is_not_followed(image: Image, tmp_path: Path) -> None:
    give(image)
    # What runs inside can put a link in the place of its output; it would be followed on the machine.
    (image.root / "usr/bin/tar").write_text("#!/bin/sh\nrm -f /out/root.tar\nln -s /etc/passwd /out/root.tar\n")
    shutil.copy2(Path(shutil.which("ln") or "/nowhere").resolve(), image.root / "usr/bin/ln")
    with pytest.raises(StepError, match="wrote no archive"):
        add(image, tmp_path, before="true")
