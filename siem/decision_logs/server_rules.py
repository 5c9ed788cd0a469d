"""`data.system.log.drop` and `mask` as an OPA server evaluates them, for bundles that only it can evaluate.

A server that does not answer now, or has no bundle yet, holds events up: they wait in the log. An answer that is no
list of masks, or that another bundle gave than the one that is meant, erases the event's input and result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
import structlog

from gateway.policy_server import Asker
from policies.bundle import Bundle
from policies.errors import PolicyError
from policies.opa.wire import (
    UNDEFINED,
    Decided,
    Fault,
    ServerError,
    question,
    read_plain,
    read_wrapped,
    rule_target,
)
from policies.opa.wrapper import LOG_RULES, PACKAGE, mark_of, says_nothing
from policies.settings import Policy
from siem.decision_logs.event import BUNDLES, Event
from siem.decision_logs.mask import HIDDEN, PARTS, Mask, MaskError, read_masks

_FOR_NOW: Final = frozenset[Fault]({"connect", "tls", "timeout", "broke_off", "empty"})
"""What may be over with the next try; everything else is an answer."""

_OF_ONE_EVENT: Final = frozenset[Fault]({"timeout", "broke_off"})
"""What may be the event's doing, and not the server's."""
_REFUSALS: Final = frozenset[Fault]({"unauthorized", "status", "redirect"})

_log = structlog.get_logger("cordon.decision_logs")


class ServerRules:
    """The two rules in the server, as `LogRules` are in a bundle. `bundle` is the configured one, where it is known.

    Where Cordon pushes, an answer counts only of the configured bundle, or of the one that decided the event; a server
    that has its bundle from elsewhere is believed, as it is where it decides. It is not asked where the bundle that
    decided is here and has no such rules.
    """

    def __init__(self, settings: Policy, asker: Asker, bundle: Bundle | None) -> None:
        self.revision = "" if bundle is None else bundle.revision
        self._asker = asker
        self._pushed = settings.push
        self._mark = "" if bundle is None else mark_of(bundle, settings)
        self._silent = bundle is not None and says_nothing(bundle)
        names = {name: f"data.{PACKAGE}.{name}" if settings.push else rule for name, rule in LOG_RULES}
        query = "strict-builtin-errors=true" + ("" if settings.push else "&provenance=true")
        self._targets = {name: rule_target(rule, query) for name, rule in names.items()}

    def drops(self, event: Event) -> bool:
        """Whether the event is to be left out; only a literal true says so. ServerError: it is not known yet."""
        if self._needless(event):
            return False
        try:
            return self._value("log_drop", event) == "true"
        except PolicyError as error:
            _raise_for_now(error)
            return False

    def wanted(self, event: Event) -> Sequence[Mask]:
        """The masks for the event. ServerError: they are not known yet."""
        if self._needless(event) or not PARTS & event.keys():
            return ()
        try:
            found = self._value("log_mask", event)
            return () if found == UNDEFINED else read_masks(orjson.loads(found))
        except (MaskError, PolicyError) as error:
            _raise_for_now(error)
            _log.warning("event_erased", decision=event["decision_id"], problem=str(error))
            return HIDDEN

    def refusal(self) -> str:
        """Why the server, though it answers, says of no event what to mask; empty where it does, or is away."""
        try:
            self._ask("log_mask", b"{}")
        except ServerError as error:
            return str(error) if error.reason in _REFUSALS else ""
        return ""

    def _needless(self, event: Event) -> bool:
        return self._silent and _decided_by(event) == self.revision

    def _value(self, name: str, event: Event) -> str:
        try:
            document = orjson.dumps(event)
        except orjson.JSONEncodeError:
            raise PolicyError("the event is nested too deeply to be shown to a rule") from None
        try:
            found = self._ask(name, document)
        except ServerError as error:
            if error.reason in _OF_ONE_EVENT and self._answers():
                raise ServerError("evaluation", "the OPA server does not come to an end with this event") from None
            raise
        if self._pushed:
            self._check(found, event)
        return found.result

    def _ask(self, name: str, document: bytes) -> Decided:
        return self._asker.ask(self._targets[name], question(document), read_wrapped if self._pushed else read_plain)

    def _answers(self) -> bool:
        """Whether the server is there for another question: or else a caller could hold everything up by one input."""
        try:
            self._ask("log_mask", b"{}")
        except ServerError as error:
            return error.reason not in _FOR_NOW
        return True

    def _check(self, found: Decided, event: Event) -> None:
        if not found.mark:
            raise ServerError("empty", "the OPA server does not hold the bundle; Cordon puts it there while it runs")
        if found.mark != self._mark and found.revision != _decided_by(event):
            raise ServerError("revision", "the OPA server holds another bundle than the one whose masks are meant")


def _decided_by(event: Event) -> object:
    bundles = event.get("bundles")
    common = bundles.get(BUNDLES[0][0]) if isinstance(bundles, dict) else None
    return common["revision"] if common else None


def _raise_for_now(error: Exception) -> None:
    """Raise what the next try may not meet any more."""
    if isinstance(error, ServerError) and error.reason in _FOR_NOW:
        raise error
