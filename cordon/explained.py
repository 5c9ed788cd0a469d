"""What each code means that Cordon tells: of errors of commands, of findings about a bundle, of refused calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from cordon.failures import FAILURES, UNEXPECTED, USAGE
from gateway.refusal_pages import markdown, refusal_pages
from policies.problem_codes import PROBLEMS


class Group(NamedTuple):
    """Codes of one origin: what they are about, and the page of each in Markdown."""

    about: str
    pages: Mapping[str, str]


def _failures() -> Iterator[tuple[str, str]]:
    for known in (*FAILURES.values(), USAGE, UNEXPECTED):
        yield known.code, f"**What happened.** {known.meaning}\n\n**What to do.** {known.remedy}"


def _problems() -> Iterator[tuple[str, str]]:
    for code, known in PROBLEMS.items():
        example = f"\n\n```rego\npackage cordon.request\n\n{known.rego}\n```" if known.rego else ""
        yield code, f"**What it means.** {known.meaning}\n\n**What to do.** {known.remedy}{example}"


REFUSALS: Final = "Refused calls"
"""Their codes have pages of their own in the reference."""
GROUPS: Final[Mapping[str, Group]] = {
    "Errors of commands and of the start": Group(
        "A command ends with one, or Cordon does not start.", dict(_failures())
    ),
    "Findings about a bundle": Group(
        "`cordon policy check` and admission tell them, with file, line and remedy. An error refuses the bundle, a "
        "warning or a note does not.",
        dict(_problems()),
    ),
    REFUSALS: Group(
        "A client gets one as the answer to its call.",
        {code: markdown(code).partition("\n")[2].strip() for code in refusal_pages()},
    ),
}
