"""`file`: an executable, a folder or a Debian package that was made elsewhere and is only proven."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError
from py_portable.formats.deb_file import is_deb
from py_portable.formats.deb_install import installed
from py_portable.formats.format import APP, Format, Made, Start, option
from py_portable.images import Image
from py_portable.inspect.elf import is_elf


@dataclass(frozen=True)
class FileOptions:
    path: Path = option(..., "The path of the file or folder. A relative path starts at this file's folder.")


class File(Format):
    name = "file"
    summary = (
        "An executable, or a folder with one, that was made elsewhere. It is only proven. It needs `path`, so it "
        "cannot be in a list of plain names."
    )
    options = FileOptions
    interpreter = "none"

    def start(self, made: Made, image: Image | None = None) -> Start:
        """A file is started itself; in a folder, the executable that the config names, or the one with the folder's
        name. A
        Debian package is installed first.

        Raises ConfigError if a folder or a package has no such executable.
        """
        if is_deb(made.path):
            return installed(made)
        shown = f"{APP}/{made.path.name}"
        binds = (Bind(made.path, shown),)
        if not made.path.is_dir():
            return Start(shown, binds, is_elf=is_elf(made.path))
        script = made.meta.get("script") or made.path.name.removesuffix(".dist")
        program = (made.path / script).resolve()
        # A link out of the folder would start something of the image, and prove nothing of the artifact.
        if not program.is_file() or not program.is_relative_to(made.path.resolve()):
            raise ConfigError(
                f"the folder has no executable {script!r}",
                where=str(made.path),
                hint="give the path of the executable in it: prove FOLDER/PROGRAM, or app.script in the config",
            )
        return Start(f"{shown}/{script}", binds, is_elf=is_elf(program))
