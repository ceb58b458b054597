"""Make a wheelhouse in /out. Wheels that were compiled here are repaired for a platform tag, the others are copied.

repair.py PLATFORM [OPTION…] WHEEL…: the options of `auditwheel repair` begin with --
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

OUT = Path("/out")


def has_elf(wheel: Path) -> bool:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                if member.read(4) == b"\x7fELF":
                    return True
    return False


def repair(wheel: Path, platform: str, options: "list[str]") -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "auditwheel",
            "repair",
            "--plat",
            platform,
            *options,
            "-w",
            str(OUT),
            str(wheel),
        ],
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr, sep="")
    if done.returncode:
        show = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
        print(subprocess.run(show, capture_output=True, text=True).stdout)
        sys.exit(f"{wheel.name} can't be repaired to {platform}")


def main() -> None:
    platform, *words = sys.argv[1:]
    options = [word for word in words if word.startswith("--")]
    for wheel in map(Path, words[len(options) :]):
        linux = wheel.stem.rpartition("-")[2].startswith("linux_")
        if linux and has_elf(wheel):
            repair(wheel, platform, options)
        else:
            shutil.copyfile(wheel, OUT / wheel.name)


main()
