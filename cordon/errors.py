"""What can go wrong with the program as a whole; what its parts report has the bases of their packages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class CordonError(Exception):
    """Base of every error of this package; its text says what is wrong, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a file: where it stands (1-based line; 0: the file as a whole) and what is wrong."""

    line: int
    key: str
    text: str

    def at(self, file: str) -> str:
        """The problem in one line, in the form that editors and terminals make a link of."""
        place = f"{file}:{self.line}" if self.line else file
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class ConfigError(CordonError):
    """The configuration file cannot be used; `problems` are in the order of the file, all that were found."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(problem.at(file) for problem in self.problems))


class SupervisorError(CordonError):
    """A process of Cordon cannot be started or does not stay alive."""


class BackupError(CordonError):
    """A backup cannot be made, or is not one that can be restored here; nothing was changed."""
