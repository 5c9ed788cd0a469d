"""What goes wrong with policy, and where: one error base for the package and the problems that it carries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding about a bundle: the place, what is wrong there and what to do about it.

    `line` and `column` count from 1; 0 where the finding concerns the whole file or bundle. `code` is a stable
    name of the kind of finding. `severity` is "error", "warning" (probably wrong), or "note" (worth knowing); only an
    error refuses.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    remedy: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        text = f"{place}: {self.message}"
        return f"{text}; {self.remedy}" if self.remedy else text


class PolicyError(Exception):
    """Policy could not decide. Whoever catches it denies; the text never shows a value of the input."""


class BundleUnavailable(PolicyError):
    """The bundle that should decide is not there: not loaded yet, gone from the store, altered or refused."""


class BundleError(PolicyError):
    """A bundle cannot be loaded or is not admitted; `problems` says why, in order of place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems) or "the bundle is refused")
