"""The module that Cordon adds to a pushed bundle: it makes each answer name the bundle that gave it.

It is put into the server last and taken out first. So an answer that has the right mark was given by the whole
bundle, in one transaction; a server that was restarted empty, or is being changed, has no mark.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final

from policies.bundle import Bundle
from policies.reads import covers
from policies.settings import Policy

PACKAGE: Final = "cordon_gateway"
NAME: Final = "cordon-gateway"
"""The wrapper's name in the server."""


LOG_RULES: Final = (("log_mask", "data.system.log.mask"), ("log_drop", "data.system.log.drop"))
"""The bundle's own rules on decision logs, and the names that answers to them have in the wrapper."""
_SYSTEM: Final = re.compile(r"\bsystem\b")


@dataclass(frozen=True, slots=True)
class Mark:
    """A bundle as a server is asked for it. `mark` differs where content or asked rules do.

    What of the input its rules read is as in `policies.engine`.
    """

    mark: str
    revision: str
    request_reads: frozenset[str] | None = None
    answer_reads: frozenset[str] | None = None
    tokenises: bool = True

    def covers(self, other: Mark) -> bool:
        """Whether a document made for this bundle has all that `other` reads."""
        return (
            covers(self.request_reads, other.request_reads)
            and covers(self.answer_reads, other.answer_reads)
            and (self.tokenises or not other.tokenises)
        )


def mark_of(bundle: Bundle, settings: Policy) -> str:
    """The mark of a bundle under these settings, 32 hex digits."""
    rules = [bundle.digest, settings.request_rule, settings.response_rule]
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:32]


def says_nothing(bundle: Bundle) -> bool:
    """Whether nothing in a bundle can lie at `data.system`: no module has the word, which a package would need."""
    return "system" not in bundle.data and not any(_SYSTEM.search(text) for text in bundle.modules.values())


def wrapper(bundle: Bundle, settings: Policy) -> str:
    """The module's text."""
    about = f'{{"revision": "{bundle.revision}", "mark": "{mark_of(bundle, settings)}"}}'
    lines = [f"package {PACKAGE}", "", f"about := {about}"]
    rules = [("request", settings.request_rule), ("response", settings.response_rule)]
    for name, rule in [*rules, *LOG_RULES]:
        parts = {"revision": "about.revision", "mark": "about.mark", "result": rule}
        lines += ["", *(f'{name}["{key}"] := {value}' for key, value in parts.items())]
    return "\n".join([*lines, ""])
