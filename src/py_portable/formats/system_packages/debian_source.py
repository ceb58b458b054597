"""The folder `debian/` of a source package whose binary package is a virtual environment of dh-virtualenv. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from py_portable.formats.system_packages import documents
from py_portable.formats.system_packages.about import PackageAbout

ROOT = "/opt/venvs"
"""Where dh-virtualenv puts its environments, each below the name of its package."""

_RULES = """\
#!/usr/bin/make -f
export DH_VIRTUALENV_INSTALL_ROOT = {root}
export PIP_CONFIG_FILE = /dev/null
export PIP_NO_CACHE_DIR = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

%:
	dh $@ --buildsystem=none --with python-virtualenv

override_dh_virtualenv:
	dh_virtualenv --builtin-venv --python /usr/bin/python3 --skip-install --requirements=requirements.txt \\
		--extra-pip-arg=--no-index --extra-pip-arg=--find-links=wheels --extra-pip-arg=--require-hashes \\
		--extra-pip-arg=--no-deps --extra-pip-arg=--no-compile --extra-pip-arg=--quiet
	/usr/bin/python3 -I -B debian/settle_venv.py {name} {root}

# Wheels from an index that bring libraries were patched: what strip and dwz write of them does not load any more.
override_dh_dwz:

override_dh_strip:
	dh_strip --no-automatic-dbgsym $(addprefix -X,$(shell cat debian/not-stripped))

# Its libraries are its own: no other package may link them.
override_dh_makeshlibs:

override_dh_shlibdeps:
	dh_shlibdeps -- --ignore-missing-info
"""

_CONTROL = """\
Source: {name}
Section: utils
Priority: optional
Maintainer: {maintainer}
Build-Depends: debhelper-compat (= 13), dh-virtualenv, python3-dev, python3-venv
Standards-Version: 4.6.2
Rules-Requires-Root: no
{homepage}
Package: {name}
Architecture: any
Pre-Depends: ${{misc:Pre-Depends}}
Depends: {depends}
Description: {summary}
{description}
"""

_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: {name}
{source}
Files: *
Copyright: the authors of {name}
License: {license}
 This is the licence that the project names. Those of the packages that it needs are in the folders *.dist-info of
 {root}/{name}.
"""


def files(
    about: PackageAbout, *, depends: Sequence[str], epoch: int, suite: str, lint_overrides: Sequence[str] = ()
) -> Mapping[str, str]:
    """Path below `debian/` -> text. `depends`: what it needs besides what is computed of its files; `epoch`: the time
    of the changelog; `lint_overrides`: more tags of lintian. The build adds `not-stripped`, which names what the wheels
    of an index bring."""
    own = {"name": about.name, "root": ROOT}
    homepage = about.homepage
    needs = ["${shlibs:Depends}", "${misc:Depends}", "${venv:Depends}", *depends]
    return {
        "control": _CONTROL.format(
            **own,
            maintainer=_plain(about.maintainer),
            homepage=f"Homepage: {_plain(homepage)}\n" if homepage else "",
            depends=", ".join(needs),
            summary=_plain(about.summary),
            description=_plain("\n".join(_extended(about.description))),
        ),
        "changelog": documents.debian_changelog(about, epoch, suite),
        "copyright": _COPYRIGHT.format(
            **own, license=about.license, source=f"Source: {homepage}\n" if homepage else ""
        ),
        "rules": _RULES.format(**own),
        "source/format": "3.0 (quilt)\n",
        f"{about.name}.lintian-overrides": documents.overrides(
            about.name, f"{ROOT}/{about.name}".lstrip("/"), lint_overrides
        ),
    }


def _plain(text: str) -> str:
    """Text in which nothing is a variable of deb-substvars(5)."""
    return text.replace("$", "${}")


def _extended(description: str) -> list[str]:
    """As the field Description has it: a blank before each line, and a full stop in an empty one."""
    return [f" {line}" if line else " ." for line in (one.strip() for one in description.splitlines())]
