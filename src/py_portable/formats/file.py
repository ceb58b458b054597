"""`file`: something that was made elsewhere, an executable, a folder or a Debian package, only to be proven."""

from __future__ import annotations

from py_portable.config import Artifact
from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError
from py_portable.formats.deb_file import is_deb
from py_portable.formats.deb_install import installed
from py_portable.formats.format import APP, House, Made, Start
from py_portable.inspect.elf import is_elf
from py_portable.steps.graph import Step


class File:
    name = "file"
    needs_libpython = False
    controls: frozenset[str] = frozenset()

    def steps(self, artifact: Artifact, house: House | None) -> tuple[Step, ...]:
        """None: it is taken as it lies at `path`."""
        return ()

    def start(self, made: Made) -> Start:
        """A file is started itself; in a folder, the executable that the config names or that is called like it. A
        Debian package is installed first.

        Raises ConfigError where a folder or a package has no such executable.
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
