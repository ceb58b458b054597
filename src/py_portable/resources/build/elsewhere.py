"""Replaces the Python with which Nuitka starts SCons: compilers run in another sandbox, beside this one.

elsewhere.py WORD...: the command line of SCons. The C sources and the options for SCons go to /asked/NUMBER.tar, and
the result comes back in /answered/NUMBER. build/compile.py is the other side. So packages that run here never see the
compilers' cache.
"""

import io
import json
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path

ASKED = Path("/asked")
ANSWERED = Path("/answered")
ADAPTED = "adapted_python_header_files_dir"
"""The option that names the headers of the interpreter that Nuitka has rewritten. They are put into the archive,
too.
"""
HEADERS = "adapted"
"""Their place in the folder of the sources."""
CATALOG = "_NUITKA_BUILD_DEFINITIONS_CATALOG"
"""The variable with the names of all variables whose values SCons writes into a header. It also names itself."""
SUFFIXES = (".c", ".cpp", ".h", ".S", ".txt", ".const", ".bin", ".json", ".gcda")
"""The kinds of files that Nuitka writes for SCons."""


def request(words: "list[str]", environ: "dict[str, str]") -> "dict[str, object]":
    """The request for SCons in the form that build/compile.py reads."""
    names = [name for name in environ.get(CATALOG, "").split(",") if name not in ("", CATALOG)]
    options = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
    return {
        "script": Path(words[words.index("-f") + 1]).name,
        "folder": Path(options["source_dir"]).absolute().name,
        "options": options,
        "definitions": {name: environ[name] for name in names},
    }


def hand_out(asked: "dict[str, object]", source: Path, headers: "Path | None", archive: Path) -> None:
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w", dereference=True) as tar:
        text = json.dumps(asked).encode()
        head = tarfile.TarInfo("request.json")
        head.size = len(text)
        tar.addfile(head, io.BytesIO(text))
        places = {source: "files", **({headers: f"files/{HEADERS}"} if headers else {})}
        for folder, place in places.items():
            for path in sorted(folder.rglob("*")):
                # Nuitka's own sources are links into the toolbox.
                if path.suffix in SUFFIXES and path.is_file():
                    tar.add(path, f"{place}/{path.relative_to(folder)}", recursive=False)
    part.rename(archive)


def main() -> None:
    words = sys.argv[1:]
    asked = request(words, dict(os.environ))
    source = Path(str(dict(asked["options"])["source_dir"])).absolute()  # type: ignore[call-overload]
    number = 1 + len(list(ASKED.glob("*.tar")))
    headers = dict(asked["options"]).get(ADAPTED)  # type: ignore[call-overload]
    hand_out(asked, source, Path(headers) if headers else None, ASKED / f"{number}.tar")
    answer, failed = ANSWERED / str(number), ANSWERED / f"{number}.failed"
    while not answer.exists():
        if failed.exists():
            sys.exit(1)
        time.sleep(0.05)
    shutil.copytree(answer, source, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
