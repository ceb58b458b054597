"""The one place that writes what GitHub's runner reads: outputs and the summary of a job.

A value stands between two lines that nobody can guess, so that no value ends itself and begins another output
(docs.github.com: Workflow commands, multiline strings). Names are the program's own.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

SUMMARY_BYTES = 1_000_000
"""The limit for one step: a little less than 1 MiB, above which GitHub drops the whole summary."""
OWN = frozenset(("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"))
"""The variables that name the runner's files. Commands that the action starts do not get them."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")


def output(name: str, value: str, *, delimiter: str | None = None) -> str:
    """The lines that set an output. Raises ValueError for a name that this program would not use."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not an output: {name!r}")
    end = delimiter or f"end-{secrets.token_hex(16)}"
    while end in value:
        end = f"end-{secrets.token_hex(16)}"
    # So no line of the value can be the delimiter, even if the runner reads a single "\r" as the end of a line.
    return f"{name}<<{end}\n{value}\n{end}\n"


def cut(text: str, most: int) -> str:
    """The beginning of Markdown: whole lines of at most this number of bytes, and a last line that says so."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return text
    note = "\n\nThe rest is in report.md.\n"
    if most < len(note):
        return ""
    head = data[: most - len(note)].rpartition(b"\n")[0]
    return head.decode("utf-8", "ignore") + note


def code(text: str) -> str:
    """Foreign text in a line of Markdown, as code only."""
    shown = "".join(c if c.isprintable() else " " for c in text).replace("`", "'").replace("|", "¦")
    return f"`{shown.strip() or ' '}`"


class RunnerFiles:
    """Outputs and summary. If the runner does not name a file, as on a laptop, nothing is written."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._output = environ.get("GITHUB_OUTPUT")
        self._summary = environ.get("GITHUB_STEP_SUMMARY")

    def outputs(self, values: Mapping[str, str]) -> None:
        if self._output:
            with Path(self._output).open("a", encoding="utf-8", errors="replace", newline="\n") as stream:
                stream.write("".join(output(name, value) for name, value in values.items()))

    def summary(self, text: str) -> None:
        """Append Markdown; what does not fit is cut."""
        if not self._summary:
            return
        path = Path(self._summary)
        used = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="replace", newline="\n") as stream:
            stream.write(cut(text.rstrip("\n") + "\n\n", max(0, SUMMARY_BYTES - used)))


def one_line(value: object) -> str:
    """JSON for `fromJSON(…)`."""
    return json.dumps(value, separators=(",", ":"))
