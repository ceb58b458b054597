"""What builds of known packages said when something was missing, and what a user is told to do."""

from __future__ import annotations

import pytest

from py_portable.wheels.lacking import hint, optional


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("a.c:3:10: fatal error: libpq-fe.h: No such file or directory\n", "the header libpq-fe.h"),
        ("a.cpp:3:10: fatal error: boost/any.hpp: No such file or directory\n", "the header boost/any.hpp"),
        ("a.c:3:10: fatal error: 'sys/x.h' file not found\n", "the header sys/x.h"),
        ("/usr/bin/ld: cannot find -lpq\ncollect2: error\n", "the library pq"),
        ("No package 'dbus-1' found\n", "what pkg-config calls dbus-1"),
        (
            'meson.build:8:0: ERROR: Dependency "openblas" not found, tried pkgconfig\n',
            "what pkg-config calls openblas",
        ),
        ("Error: pg_config executable not found.\n", "the program pg_config"),
        (
            "Could not run curl-config: [Errno 2] No such file or directory: 'curl-config'\n",
            "the program curl-config",
        ),
        ("/bin/sh: 1: swig: not found\n", "the program swig"),
        ("      bash: cargo: command not found\n", "the program cargo"),
        ("./build.sh: line 7: cmake: command not found\n", "the program cmake"),
        ("  Could NOT find OpenSSL, try to set the path\n", "what CMake calls OpenSSL"),
    ],
)
def test_what_is_missing_is_named(said: str, what: str) -> None:
    assert hint(f"before\n{said}after\n").startswith(f"{what} is missing: name its Debian package in baselines.")


def test_nothing_is_guessed() -> None:
    said = "checking for an option\nlibfoo: not found\n_boo.c:1:9: error: expected expression before ';' token\nerror: command '/usr/bin/gcc' failed\n"
    assert "missing" not in hint(said)
    assert hint(said).startswith("correct what the lines above say")


def test_an_optional_extension_is_named_with_what_the_compiler_said() -> None:
    said = (
        "  gcc -c fast.c\n  fast.c:2:10: fatal error: no_such.h: No such file or directory\n"
        "  WARNING: building extension \"speedup._fast\" failed: command '/usr/bin/gcc' failed with exit code 1\n"
        "  installing to build/wheel\n"
    )
    lost = optional("line\n" * 99 + said)
    assert lost is not None and lost[0] == "speedup._fast"
    assert "fatal error: no_such.h" in lost[1] and "installing" not in lost[1] and lost[1].count("line") < 12
    assert hint(lost[1]).startswith("the header no_such.h is missing")
    assert optional("building 'speedup._fast' extension\n") is None
