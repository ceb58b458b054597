"""Who is asked what only a build backend can tell, where a test wants nobody to be, or answers itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.lock.backend import Answer, Question
from py_portable.wheels.app_source import copy_source, source_digest


@dataclass
class Answers:
    """Answers by name; a question that has none is a failure of the test. `asked`: what was asked, in turn."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)
    known: str | None = None

    def recall(self, question: Question) -> Answer | None:
        return None

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        assert question.name in self.answers, f"nobody is to be asked about {question.name}"
        question.build(None, ())
        return self.answers[question.name]

    def digest(self, source: Path) -> str:
        return source_digest(source)

    def copy(self, source: Path, into: Path) -> None:
        copy_source(source, into)

    def version(self) -> str | None:
        return self.known
