"""What is read of the lines of lintian and rpmlint, and what packages say of themselves for them."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest

from py_portable.formats.system_packages import documents
from py_portable.formats.system_packages.about import PackageAbout
from py_portable.formats.system_packages.documents import Licences
from py_portable.formats.system_packages.lint_tools import LINTIAN, RPMLINT, stage
from py_portable.images import Image
from py_portable.prove import lint_lines

LINTIAN_SAYS = """lintian 2.116.3
W: tool: no-manual-page [usr/bin/tool]
E: tool: no-copyright-file
N: a note
W: tool: no-manual-page [usr/bin/tool]
"""
RPMLINT_SAYS = """rpmlint 2.4.0
=========== rpmlint session starts ===========
rpmlint: 2.4.0
tool.x86_64: E: no-binary
tool.x86_64: W: no-documentation
 1 packages and 0 specfiles checked; 1 errors, 1 warnings, 1 badness; has taken 0.1 s
"""
OTHERS = {"click": "text of it\n\n", "a/../b": "x"}
ABOUT = PackageAbout("tool", "1:2.0~rc1", "3", "A tool", "It is one.", "MIT", "Jane <jane@example.com>", "")


def test_errors_and_warnings_are_told_apart() -> None:
    found = lint_lines.read(LINTIAN_SAYS)
    assert (found.errors, found.warnings) == (("tool: no-copyright-file",), ("tool: no-manual-page [usr/bin/tool]",))
    assert found.summary == "lintian 2.116.3: 1 error, 1 warning: tool: no-copyright-file"
    found = lint_lines.read(RPMLINT_SAYS)
    assert (found.tool, found.errors, found.warnings) == ("rpmlint 2.4.0", ("no-binary",), ("no-documentation",))
    assert lint_lines.read("rpmlint 2.4.0\n").summary == "rpmlint 2.4.0: 0 errors, 0 warnings"


def test_an_image_without_the_tool_has_no_such_stage(tmp_path: Path) -> None:
    image = Image("debian:12", tmp_path, "sha256:0", "bootstrap", "2.36", None)
    assert stage(LINTIAN, tmp_path, "/run/x.deb", image) is None and stage(LINTIAN, tmp_path, "/x", None) is None
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/rpmlint").touch()
    found = stage(RPMLINT, tmp_path / "p.rpm", "/run/x.rpm", image)
    assert (
        found is not None
        and found.argv[2:6] == ("rpmlint", "64", "", "/usr/bin/rpmlint")
        and found.argv[-1] == "/run/x.rpm"
    )
    assert {bind.target for bind in found.binds} >= {"/run/x.rpm", found.argv[-2]}
    assert stage(LINTIAN, tmp_path, "/run/x.deb", image) is None


def test_documents_are_the_same_every_time_and_name_the_licences() -> None:
    told = {one.place: one.data for one in documents.of_deb(ABOUT, Licences("Copyright (c) 2024 Jane", OTHERS), 0)}
    top = "/usr/share/doc/tool"
    assert told[f"{top}/licenses/click.txt"] == b"text of it\n"
    assert f"{top}/licenses/a-..-b.txt" in told, "no name leads elsewhere"
    assert b"License: MIT" in told[f"{top}/copyright"] and f"{top}/licenses".encode() in told[f"{top}/copyright"]
    assert b"Copyright (c) 2024 Jane" in told[f"{top}/copyright"]
    long = documents.of_deb(ABOUT, Licences("GNU" * 9000, {}), 0)
    assert [one.place for one in long if b"GNUGNU" in one.data] == [f"{top}/licenses/tool.txt"]
    changelog = gzip.decompress(told[f"{top}/changelog.Debian.gz"]).decode()
    assert changelog.startswith("tool (1:2.0~rc1-3) unstable; urgency=medium\n")
    assert changelog.endswith(" -- Jane <jane@example.com>  Thu, 01 Jan 1970 00:00:00 +0000\n")
    assert told[f"{top}/changelog.Debian.gz"][3:10] == b"\0\0\0\0\0\x02\x03", "no name, no time, whichever Python"
    assert all(one.kind == "doc" for one in documents.of_rpm(ABOUT, Licences("", {"click": "x"})))


@pytest.mark.parametrize(
    ("license", "name"),
    [
        ("Apache Software License", "Apache-2.0"),
        ("LGPL-2.1-or-later", "LGPL-2.1"),
        ("GPL-3.0-only", "GPL-3"),
        ("GNU General Public License v2 (GPLv2)", "GPL-2"),
        ("MIT", None),
    ],
)
def test_a_well_known_licence_is_named_by_its_file(license: str, name: str | None) -> None:
    (paper, *_) = documents.of_deb(replace(ABOUT, license=license), Licences("", {}), 0)
    found = re.findall(rb"/usr/share/common-licenses/(\S+)\.", paper.data)
    assert found == ([name.encode()] if name else [])


def test_many_errors_are_counted_and_some_are_named() -> None:
    found = lint_lines.read("lintian 2\n" + "".join(f"E: tool: tag-{number}\n" for number in range(9)))
    assert len(found.errors) == 9 and found.summary.endswith("; tool: tag-4 and 4 more")
