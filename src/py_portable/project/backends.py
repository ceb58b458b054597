"""Build backends are foreign code: they run in the baseline's sandbox, offline and without access to the user's data.

Without a sandbox only the backend of the user's own source runs on this machine, without access to the user's files.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from py_portable import resources
from py_portable.base import process, shape
from py_portable.base.fetch import FetchError
from py_portable.base.regular import read_regular
from py_portable.config import Config
from py_portable.engines import apart
from py_portable.engines.engine import Bind
from py_portable.errors import MachineError, PortableError, StepError
from py_portable.images import Image, ImageUnavailable
from py_portable.interpreters import libraries
from py_portable.lock.backend import Answer, Question, Unasked
from py_portable.lock.index import files
from py_portable.lock.index.offers import LockedFile
from py_portable.steps.context import BuildFailed, Context, Environment, Result
from py_portable.steps.identity import NodeId
from py_portable.wheels import sdist
from py_portable.wheels.app_source import copy_source, source_digest

SECONDS = 900.0
MAX_ANSWER = 8 << 20
SCRIPT = "build/ask.py"
NOT_HAD = (MachineError, ImageUnavailable, FetchError)
"""The errors which show that this machine cannot have a sandbox. Any other failure would also stop a build."""


@dataclass(frozen=True)
class Sandbox:
    """The parts of a sandbox: the baseline's image, and its interpreter and libraries by step."""

    image: Image
    inputs: Mapping[NodeId, Result]

    @property
    def interpreter(self) -> Result:
        return next(result for node, result in self.inputs.items() if node.kind == "interpreter")


@dataclass(frozen=True)
class Backends:
    """An `Asker` for one baseline and Python. `prepare` makes the sandbox; `target` is used to fetch files."""

    config: Config
    environment: Environment
    baseline: str
    target: Mapping[str, str]
    say: Callable[[str], None]
    prepare: Callable[[], Sandbox]
    may_run: bool = True
    """If False, it is an error when a backend would have to be asked."""
    _made: list[Sandbox | PortableError] = field(default_factory=list, compare=False, repr=False)

    def digest(self, source: Path) -> str:
        return source_digest(source)

    def copy(self, source: Path, into: Path) -> None:
        copy_source(source, into)

    def version(self) -> str | None:
        if not self.may_run:
            return None
        sandbox = self._sandbox()
        if isinstance(sandbox, Sandbox):
            return str(sandbox.interpreter.meta["version"])
        python = self.target["python"]
        self.say(
            f"markers are read as for Python {python}.0, because the interpreter is not available: {sandbox.what}"
        )
        return None

    def recall(self, question: Question) -> Answer | None:
        entry = self.environment.store.get(self._key(question))
        return answer_of(entry.meta["answer"], question.name) if entry else None

    def ask(self, question: Question) -> Answer:
        if not self.may_run:
            raise Unasked(
                f"{question.name} has changed, and only its build backend knows what it requires now",
                hint="run: py-portable lock",
            )
        sandbox = self._sandbox()
        if isinstance(sandbox, Sandbox):
            try:
                return self._inside(question, sandbox)
            except MachineError as problem:
                sandbox = problem
        why = sandbox.what
        if not question.metadata:
            self.say(
                f"{question.name}: its build may require more than it declares: its build backend was "
                f"not asked, because there is no sandbox for it: {why}. If something is missing, see "
                f"wheels.build-requires"
            )
            return Answer()
        if not question.own:
            raise MachineError(
                f"{question.name} has dependencies that are known only when its own code runs, and there "
                f"is no sandbox here in which to run it: {why}",
                hint="write them into the config: wheels: {metadata: {NAME: [...]}}"
                + (f"\n{sandbox.hint}" if sandbox.hint else ""),
            )
        return self._apart(question, why)

    def _sandbox(self) -> Sandbox | PortableError:
        if not self._made:
            try:
                self._made.append(self.prepare())
            except PortableError as problem:
                if not isinstance(problem, NOT_HAD):
                    raise
                self._made.append(problem)
        return self._made[0]

    def _key(self, question: Question) -> str:
        told = {
            "ask": resources.sha256(SCRIPT),
            "source": question.digest,
            "backend": asdict(question.backend),
            "requires": self.config.wheels.build_requires.get(question.name, ()),
            "metadata": question.metadata,
            "python": question.python,
            "baseline": asdict(self.config.baselines[self.baseline]),
            "env": dict(self.config.build.env),
            "epoch": self.environment.epoch,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _inside(self, question: Question, sandbox: Sandbox) -> Answer:
        env = self.environment

        def build(work: Path) -> Mapping[str, object]:
            self.say(f"asking the build backend of {question.name}")
            ctx = Context(
                env,
                f"the build backend of {question.name}",
                {},
                sandbox.inputs,
                sandbox.image,
                work,
                work / "log",
            )

            def once(spec: str, build: Path) -> Any:
                ctx.sandbox(
                    SCRIPT,
                    *(spec, "/in/source/app", "/in/build", "/build", "/out/answer.json"),
                    binds=(
                        Bind(sandbox.interpreter.path, "/opt/python"),
                        Bind(work / "source", "/in/source"),
                        Bind(build, "/in/build"),
                        *libraries.binds(ctx),
                    ),
                    environ=self.config.build.env,
                    timeout=SECONDS,
                    hint=_HINT,
                )
                return read_answer(ctx.out / "answer.json", question.name)

            return {"answer": asdict(self._in_turns(question, work, once, None))}

        return answer_of(env.store.make(self._key(question), build).meta["answer"], question.name)

    def _apart(self, question: Question, why: str) -> Answer:
        store = self.environment.store
        with store.scratch("apart") as work:
            own = work / "work"
            own.mkdir()
            env = apart.environment(own, self.environment.epoch, self.config.build.env)
            held = True

            def once(spec: str, build: Path) -> Any:
                nonlocal held
                words = [
                    sys.executable,
                    "-I",
                    str(resources.path(SCRIPT)),
                    spec,
                    str(work / "source" / "app"),
                ]
                words += [str(build), str(own), str(own / "answer.json")]
                outcome, held = apart.run(
                    words,
                    work=own,
                    read=[work / "source", build, resources.path(SCRIPT).parent],
                    env=env,
                    log=work / "log",
                    timeout=SECONDS,
                )
                # The log goes with the folder; the end of it stands in the message.
                process.require(
                    replace(outcome, log=None),
                    what=f"the build backend of {question.name}",
                    error=BuildFailed,
                    hint=_HINT,
                )
                return read_answer(own / "answer.json", question.name)

            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            answer = self._in_turns(question, work, once, python)
        held_by = "kept from your files by the kernel" if held else "able to read and write what you can"
        self.say(
            f"{question.name}: its build backend ran on this machine with Python {python}, without your "
            f"environment and {held_by}, not in the baseline: {why}"
        )
        return answer

    def _in_turns(
        self, question: Question, work: Path, once: Callable[[str, Path], Any], python: str | None
    ) -> Answer:
        """First the packages that a backend asks for are provided, and then it is asked again."""
        _lay_out(question.source, work / "source")
        more: tuple[str, ...] = ()
        for turn in range(3):
            build = work / f"build-{turn}"
            self._gather(question.build(python, more), build, python)
            answer = answer_of(once(_spec(question, more), build), question.name)
            if not question.metadata or answer.metadata is not None:
                return answer
            more = (*more, *answer.requires)
        raise StepError(f"the build backend of {question.name} asks for more requirements each time")

    def _gather(self, wanted: Sequence[LockedFile], into: Path, python: str | None) -> None:
        env = self.environment
        target = {**self.target, **({"python": python} if python else {})}
        files.gather(env.store, wanted, into, environ=env.environ, **target)


_HINT = (
    "if it cannot run here, write the answer into the config: wheels: {metadata: {NAME: [...]}} for what it depends "
    "on, wheels: {build-requires: {NAME: [...]}} for what its build requires"
)


def _spec(question: Question, more: tuple[str, ...]) -> str:
    backend = question.backend
    told = {
        "requires": backend.requires,
        "more": more,
        "backend": backend.name,
        "backend_path": backend.path,
        "metadata": question.metadata,
    }
    return json.dumps(told)


def _lay_out(source: Path, into: Path) -> None:
    """The source as the folder `app` in `into`."""
    if source.is_dir():
        into.mkdir()
        copy_source(source, into / "app")
        return
    sdist.unpack_as(source, into / "unpacked", into / "app")


def read_answer(path: Path, name: str) -> Any:
    """Reads JSON that foreign code wrote. No link is followed, and only a regular file of limited size is read."""
    try:
        return shape.parse(read_regular(path, MAX_ANSWER, follow=False))
    except OSError as problem:
        raise StepError(
            f"the build backend of {name} left no answer: answer.json: {problem.strerror}"
        ) from None
    except shape.Misfit as problem:
        raise StepError(f"the answer of the build backend of {name} cannot be read: it {problem}") from None


def answer_of(told: Any, name: str) -> Answer:
    try:
        requires, metadata = told["requires"], told["metadata"]
    except (TypeError, KeyError):
        requires, metadata = None, None
    if not isinstance(requires, list | tuple) or not all(isinstance(one, str) for one in requires):
        raise StepError(f"the build backend of {name} did not answer with a list of requirements")
    if not isinstance(metadata, str | None):
        raise StepError(f"the build backend of {name} did not answer with metadata as text")
    return Answer(tuple(requires), metadata)
