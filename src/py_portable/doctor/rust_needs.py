"""What the format pyoxidizer needs beside the kit."""

from __future__ import annotations

import os

from py_portable.base.rust import toolchain
from py_portable.doctor.findings import DoctorFinding
from py_portable.errors import MachineError


def examine(*, required: bool) -> DoctorFinding:
    """Whether there is a Rust that starts in a baseline; `required` where a config has the format."""
    what = "compiles artifacts of the format pyoxidizer"
    try:
        found = toolchain(os.environ)
    except MachineError as problem:
        return DoctorFinding("Rust", False, what, problem.what, problem.hint, required)
    return DoctorFinding("Rust", True, f"{what}: {found.version}", required=required)
