"""What cells are shown as /etc/passwd and /etc/group, so that their user has a name, or has none.

The files are made from those of the root in which a cell starts, with what was installed over it. They are kept in the
store, so that the command that repeats a start by hand finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.base.regular import read_regular
from py_portable.engines.engine import Bind, Engine, Job
from py_portable.engines.guard import HELPERS
from py_portable.engines.stage import LinkLoop, inside
from py_portable.errors import MachineError
from py_portable.prove import user_entries
from py_portable.prove.conditions import Condition
from py_portable.store import Store

PASSWD = "/etc/passwd"
GROUP = "/etc/group"
ACCOUNT = "account"
"""The aspect of an engine that cannot show them."""
MOST_BYTES = 1 << 20
"""The most that each file may have; a longer one is left as it is."""
_SECONDS = 20.0
_UNKNOWN = "what the installation made of /etc/passwd and /etc/group could not be read"
_SHOW = (f"{HELPERS}/canary", PASSWD, GROUP)

_Place = tuple[Path, tuple[Path, ...]]
"""A root, and what was installed over it."""
_Texts = tuple[bytes | None, bytes | None]
"""Of passwd and group. Empty: there is no such file. None: there is something else, or what cannot be read."""


class UnknownAccounts(MachineError):
    """The engine did not tell which users a root has, so nothing can be said of a start in it."""


@dataclass(frozen=True)
class Accounts:
    """Those of one run. `able`: whether the engine can show files at all (`lacks` of its probe)."""

    store: Store
    engine: Engine
    helpers: Path
    able: bool = True
    _found: dict[_Place, _Texts] = field(default_factory=dict, repr=False, compare=False)
    _known: dict[tuple[_Place, bool, str], tuple[Bind, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def of(self, condition: Condition, root: Path, layers: tuple[Path, ...] = ()) -> tuple[Bind, ...]:
        """What every start of this condition in this root is shown. Nothing where the root has it already, or where
        nothing can be shown: then the canary sees what is missing. Raises StoreError, and UnknownAccounts where the
        engine could not look at what was installed."""
        if not self.able:
            return ()
        place = (root, layers)
        key = (place, condition.account, condition.env["HOME"])
        if key not in self._known:
            if place not in self._found:
                self._found[place] = (
                    self._of_layers(condition.uid, root, layers)
                    if layers
                    else (text_of(root, PASSWD), text_of(root, GROUP))
                )
            self._known[key] = self._made(condition, self._found[place])
        return self._known[key]

    def _made(self, condition: Condition, found: _Texts) -> tuple[Bind, ...]:
        wanted = texts(condition, found)
        shown = {
            target: text
            for target, text, old in zip((PASSWD, GROUP), wanted, found, strict=True)
            if text is not None and text != old
        }
        if not shown:
            return ()
        folder = self._kept(shown)
        return tuple(Bind(folder / Path(target).name, target) for target in shown)

    def _of_layers(self, uid: int, root: Path, layers: tuple[Path, ...]) -> _Texts:
        """What a helper in there reads: only the engine can look at its own layers."""
        job = Job("proof", root, _SHOW, uid=uid, helpers=self.helpers, layers=layers)
        try:
            ended = self.engine.run(job, timeout=_SECONDS, capture_bytes=2 * MOST_BYTES)
        except MachineError as problem:
            raise UnknownAccounts(f"{_UNKNOWN}: {problem.what}") from problem
        if not ended.ok:
            raise UnknownAccounts(f"{_UNKNOWN}: {ended.stderr.text.strip()[-200:] or 'the helper failed'}")
        if ended.stdout.cut:
            return (None, None)
        # A file with a zero byte in it would be taken for two.
        match ended.stdout.data.split(b"\0"):
            case [passwd, group, b""]:
                return (passwd, group)
        return (None, None)

    def _kept(self, shown: Mapping[str, bytes]) -> Path:
        """A folder in the store that holds these files."""
        total = hashlib.sha256(b"accounts of a cell 1")
        for target, text in shown.items():
            total.update(f"\n{target} {len(text)}\n".encode() + text)

        def build(work: Path) -> Mapping[str, object]:
            for target, text in shown.items():
                path = work / "out" / Path(target).name
                path.write_bytes(text)
                path.chmod(0o644)
            return {}

        return self.store.make(total.hexdigest(), build, title="the accounts that a cell sees").path


def texts(condition: Condition, found: _Texts) -> _Texts:
    """What the condition shows of these. Pure."""
    passwd, group = found
    uid, home = condition.uid, condition.env["HOME"]
    if condition.account:
        return (
            None if passwd is None else user_entries.with_user(passwd, uid, home),
            None if group is None else user_entries.with_group(group, uid),
        )
    return (
        None if passwd is None else user_entries.without_user(passwd, uid),
        None if group is None else user_entries.without_group(group, uid),
    )


def text_of(root: Path, place: str) -> bytes | None:
    """The file of an image at `place`, behind links that stay inside; empty where there is none, None where something
    else is there, or a file that cannot be read."""
    try:
        real = inside(root, place)
        return read_regular(root / real.lstrip("/"), MOST_BYTES, follow=False)
    except FileNotFoundError:
        # A link that leads to nothing may lead to what only the engine puts there, such as a device.
        return b"" if real == place else None
    except (OSError, LinkLoop):
        return None
