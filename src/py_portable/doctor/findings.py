"""The findings of the doctor, one for each thing that it examines, and how they are shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DoctorFinding:
    """One thing that was examined. `what` says what was found or what it is used for; `cure` is one shell command."""

    name: str
    ok: bool
    what: str
    cause: str | None = None
    cure: str | None = None
    required: bool = True
    """Whether the kit does not work here without it. If False, it is only mentioned."""
    packages: tuple[str, ...] = ()
    """The packages of this system that contain it."""
    command: tuple[str, ...] = ()
    """The command that root has to run for it, if it is not in a package."""


def lacking(findings: tuple[DoctorFinding, ...]) -> tuple[DoctorFinding, ...]:
    """The findings that keep the kit from working here."""
    return tuple(finding for finding in findings if finding.required and not finding.ok)


def packages(findings: tuple[DoctorFinding, ...]) -> tuple[str, ...]:
    """The packages that are missing, each once, in order."""
    return tuple(dict.fromkeys(name for finding in lacking(findings) for name in finding.packages))


def commands(findings: tuple[DoctorFinding, ...]) -> tuple[tuple[str, ...], ...]:
    """The commands that root has to run for what is missing and is not in a package, each once, in order."""
    return tuple(dict.fromkeys(finding.command for finding in lacking(findings) if finding.command))


def render(findings: tuple[DoctorFinding, ...]) -> str:
    """One line for each finding. A problem is followed by its cause and what to do."""
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
