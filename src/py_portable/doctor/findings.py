"""What the doctor saw: one finding a thing looked at, and how findings are shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DoctorFinding:
    """One thing looked at. `what` says what was seen or what it is for; `cure` is one shell line."""

    name: str
    ok: bool
    what: str
    cause: str | None = None
    cure: str | None = None
    required: bool = True
    """Without it the kit does not work here; else it is only mentioned."""
    packages: tuple[str, ...] = ()
    """The packages of this system that bring it."""
    command: tuple[str, ...] = ()
    """What root starts to have it, where no package brings it."""


def lacking(findings: tuple[DoctorFinding, ...]) -> tuple[DoctorFinding, ...]:
    """The findings that keep the kit from working here."""
    return tuple(finding for finding in findings if finding.required and not finding.ok)


def packages(findings: tuple[DoctorFinding, ...]) -> tuple[str, ...]:
    """The packages that bring what is lacking, each once, in order."""
    return tuple(dict.fromkeys(name for finding in lacking(findings) for name in finding.packages))


def commands(findings: tuple[DoctorFinding, ...]) -> tuple[tuple[str, ...], ...]:
    """What root starts to have what is lacking and no package brings, each once, in order."""
    return tuple(dict.fromkeys(finding.command for finding in lacking(findings) if finding.command))


def render(findings: tuple[DoctorFinding, ...]) -> str:
    """One line a finding; what is not well is followed by its cause and its cure."""
    width = max((len(finding.name) for finding in findings), default=0)
    indent = " " * (11 + width)
    lines = []
    for finding in findings:
        mark = "ok" if finding.ok else "LACKING" if finding.required else "not here"
        lines.append(f"{mark:8} {finding.name:{width}}  {finding.what}")
        if finding.ok:
            continue
        if finding.cause:
            lines.append(f"{indent}cause: {finding.cause}")
        if finding.cure:
            first, *rest = finding.cure.splitlines()
            lines += [f"{indent}cure:  {first}", *(f"{indent}       {line}" for line in rest)]
    return "\n".join(lines)
