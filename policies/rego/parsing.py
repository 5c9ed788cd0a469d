"""Parses the modules of a bundle together, so that an author is told of everything that does not parse."""

from __future__ import annotations

from collections.abc import Mapping

from policies.errors import BundleError
from policies.rego.failure import parse_problem
from policies.rego.lexer import check_brackets
from policies.rego.tree import Module, parse


def parsed(texts: Mapping[str, str]) -> list[Module]:
    """The modules of these texts by file, in order of file; BundleError with all that does not parse."""
    modules = []
    problems = [problem for file, text in texts.items() for problem in check_brackets(file, text)]
    for file, text in () if problems else sorted(texts.items()):
        try:
            modules.append(parse(file, text))
        except Exception as error:
            problems.append(parse_problem(file, str(error)))
    if problems:
        raise BundleError(problems)
    return modules
