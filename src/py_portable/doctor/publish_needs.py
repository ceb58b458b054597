"""What building and uploading the app's own wheels needs beside the kit."""

from __future__ import annotations

import importlib.util

from py_portable.doctor.findings import DoctorFinding
from py_portable.wheels.twine import INSTALL

MODULES = ("cibuildwheel", "twine")


def examine() -> DoctorFinding:
    """Only `wheels.publish` needs it, so it is not required."""
    absent = [name for name in MODULES if importlib.util.find_spec(name) is None]
    what = "builds the app's own wheels and uploads them"
    if not absent:
        return DoctorFinding("publishing", True, what, required=False)
    return DoctorFinding(
        "publishing", False, what, f"{' and '.join(absent)} not installed", INSTALL, required=False
    )
