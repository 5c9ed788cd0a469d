"""Tries out a bundle that somebody is writing: nothing of it is trusted, and all of it happens in a process of its own.

Parsing alone may take for ever, so checks, decision, explanation and tests run in one disposable process with limits of
memory and time, and its children with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from policies.bundle import DATA_FILES
from policies.engine import Moment
from policies.errors import BundleError, Problem
from policies.processes import ask
from policies.settings import Policy

SECONDS: Final = 15.0
"""Longest time for everything."""
MOST_FILES: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*){0,7}")


def try_out(
    files: Mapping[str, str], document: object, moment: Moment, settings: Policy, *, tests: bool = False
) -> dict[str, Any]:
    """What comes of a bundle's files, as a JSON value:

    - `admitted`, `revision`, `problems` (of admission and of what cannot be meant, each with file, line and remedy)
    - with a `document` other than None, `decision` (see `policies.explain.told`), or `error`
    - with `tests`, `tests` (name, file, line, outcome, detail, at of each) and `coverage` (by file, lines `missed`)

    BundleError where the files are none of a bundle, PolicyError where it takes too long or the process breaks down.
    """
    check_names(files)
    request = {
        "files": dict(files),
        "document": document,
        "moment": moment.value,
        "settings": settings.model_dump(mode="json", include=set(_SETTINGS)),
        "tests": tests,
    }
    return ask("policies.trial_worker", request, SECONDS, "trying it out")


def check_names(files: Mapping[str, str]) -> None:
    """BundleError where files that were typed are too many, or have names that files of a bundle cannot have."""
    problems = [_misnamed(file) for file in files if not _is_name(file)]
    if problems or len(files) > MOST_FILES:
        raise BundleError(problems or [Problem(".", 0, 0, "files", f"more than {MOST_FILES} files", "leave some out")])


def _is_name(file: str) -> bool:
    known = file.endswith(".rego") or file.rpartition("/")[2] in DATA_FILES
    return known and len(file) <= 200 and _NAME.fullmatch(file) is not None


def _misnamed(file: str) -> Problem:
    remedy = "a bundle has files named ….rego, data.json and data.yaml, of letters, digits and . _ - /"
    return Problem(ascii(file)[1:-1][:200], 0, 0, "name", "this is no name of a bundle's file", remedy)


_SETTINGS: Final = (
    "request_rule", "response_rule", "result_style", "unsafe_pass_answers", "admission_seconds", "decision_ms"
)  # fmt: skip
