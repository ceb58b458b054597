"""What is left after a removal: two listings compared."""

from __future__ import annotations

from dataclasses import replace

from py_portable.engines.engine import Node
from py_portable.evidence.stage_results import MOST_PATHS
from py_portable.prove.leftovers import leftovers

FOLDER = Node("folder", 0o755, 0, 0, 0, 0)
FILE = Node("file", 0o644, 0, 0, 5, 100)
IMAGE = dict.fromkeys(("etc", "run", "var", "var/lib", "var/lib/dpkg"), FOLDER) | dict.fromkeys(
    ("etc/passwd", "etc/hosts", "var/lib/dpkg/status", "etc/ld.so.cache"), FILE
)


def test_nothing_is_left_of_a_package_that_takes_all_with_it() -> None:
    found = leftovers(IMAGE, IMAGE, ())
    assert (found.left, found.changed, found.manager, found.more) == ((), (), (), 0)


def test_what_is_new_what_was_rewritten_and_what_the_package_manager_keeps_are_told_apart() -> None:
    after = IMAGE | {
        "var/lib/tool": FOLDER,
        "var/lib/tool/data": FILE,
        "var/lib/dpkg/info/tool.list": FILE,
        "var/lib/dpkg/status": replace(FILE, size=9),
        "etc/ld.so.cache": replace(FILE, changed=200),
        "etc/passwd": replace(FILE, size=50),
        "var/log/dpkg.log": FILE,
        "var/cache/man/index.db": FILE,
        "var/log/tool.log": FILE,
        "usr/share/man/man1": FOLDER,
        "usr/share/man/man1/tool.1.gz": FILE,
        "lib/apk/db/installed": FILE,
    }
    del after["etc/hosts"]
    found = leftovers(IMAGE, after, ())
    assert found.left == ("/usr/share/man/man1/tool.1.gz", "/var/lib/tool", "/var/lib/tool/data", "/var/log/tool.log")
    assert found.changed == ("/etc/hosts", "/etc/passwd")
    assert found.manager == (
        "/etc/ld.so.cache",
        "/lib/apk/db/installed",
        "/usr/share/man/man1",
        "/var/cache/man/index.db",
        "/var/lib/dpkg/info/tool.list",
        "/var/lib/dpkg/status",
        "/var/log/dpkg.log",
    )


def test_a_folder_with_another_owner_is_changed_and_one_with_other_files_is_not() -> None:
    after = IMAGE | {"var/lib": replace(FOLDER, uid=7)}
    assert leftovers(IMAGE, after, ()).changed == ("/var/lib",)


def test_an_empty_folder_that_is_gone_is_the_package_managers_and_a_full_one_is_not() -> None:
    image = IMAGE | {"opt": FOLDER, "srv": FOLDER, "srv/data": FILE}
    after = {name: node for name, node in image.items() if name not in ("opt", "srv", "srv/data")}
    found = leftovers(image, after, ())
    assert (found.changed, found.manager) == (("/srv", "/srv/data"), ("/opt",))


def test_where_stages_were_shown_something_counts_as_long_as_nothing_else_is_there() -> None:
    shown = ("/run/place/package.deb", "/opt/more/older.deb", "/run/py-portable")
    places = {"run/place/package.deb": FILE, "opt/more/older.deb": FILE, "run/py-portable/cell-run": FILE}
    folders = dict.fromkeys(("run/place", "opt", "opt/more", "run/py-portable"), FOLDER)
    assert leftovers(IMAGE, IMAGE | places | folders, shown).left == ()
    own = {"opt/tool": FILE}
    assert leftovers(IMAGE, IMAGE | places | folders | own, shown).left == ("/opt", "/opt/tool")


def test_names_that_are_no_text_and_a_great_many_names() -> None:
    found = leftovers(IMAGE, IMAGE | {"etc/a\udcffb": FILE}, ())
    assert found.left == ("/etc/a\\xffb",)
    many = leftovers(IMAGE, IMAGE | {f"etc/{number:06}": FILE for number in range(MOST_PATHS + 5)}, ())
    assert (len(many.left), many.more) == (MOST_PATHS, 5)
