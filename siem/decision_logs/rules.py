"""The bundle's own rules on decision logs, `data.system.log.drop` and `data.system.log.mask`, in the bundle in force.

They are evaluated by the embedded engine with the event as input; with `engine: opa`, where it cannot evaluate the
bundle or the bundle is not here, by the server. What is not known to be harmless does not go out: where the mask cannot
be evaluated, or the bundle is not known, input and result of the event are erased; where `drop` cannot be, the event
is not dropped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Final, NamedTuple

import orjson
import structlog

from gateway.policy_server import Asker
from policies.admission import Admission
from policies.bundle import Bundle, load_bundle, signature
from policies.embedded import EmbeddedEngine
from policies.errors import BundleError, PolicyError, Problem
from policies.rego.names import Names
from policies.rego.tree import parse
from policies.reloading import examine
from policies.settings import Policy
from policies.verdicts import Verdicts
from siem.decision_logs.event import Event
from siem.decision_logs.mask import HIDDEN, Mask, MaskError, apply, read_masks
from siem.decision_logs.server_rules import ServerRules

Steps = tuple[str, ...]

MASK: Final = ("data", "system", "log", "mask")
DROP: Final = ("data", "system", "log", "drop")
_UNDEFINED: Final = object()

_log = structlog.get_logger("cordon.decision_logs")


class Found(NamedTuple):
    """How a rule's value is come by: the rule to evaluate and the steps into its value, or a value of the data."""

    rule: str
    steps: Steps
    value: object = _UNDEFINED


class LogRules:
    """The two rules of one bundle. It belongs to the thread that made it, as its engine does."""

    def __init__(self, admission: Admission, settings: Policy) -> None:
        assert admission.bundle is not None
        self.revision = admission.bundle.revision
        self._engine = EmbeddedEngine(admission.bundle, settings, admission.reads)
        names = Names([parse(file, text) for file, text in admission.bundle.modules.items()])
        self._mask = _find(names, admission.bundle.data, MASK)
        self._drop = _find(names, admission.bundle.data, DROP)

    def drops(self, event: Event) -> bool:
        """Whether the event is to be left out; only a literal true says so."""
        if self._drop is None:
            return False
        try:
            return self._value(self._drop, event) is True
        except PolicyError:
            return False

    def masks(self, event: Event) -> bool:
        """Mask the event; True where anything of it was changed."""
        return apply(event, self.wanted(event))

    def wanted(self, event: Event) -> Sequence[Mask]:
        """The masks for the event."""
        if self._mask is None:
            return ()
        try:
            found = self._value(self._mask, event)
            return () if found is _UNDEFINED else read_masks(found)
        except (MaskError, PolicyError) as error:
            _log.warning("event_erased", decision=event["decision_id"], problem=str(error))
            return HIDDEN

    def _value(self, found: Found, event: Event) -> object:
        if not found.rule:
            return deepcopy(found.value)
        try:
            document = orjson.dumps(event)
        except orjson.JSONEncodeError:
            raise PolicyError("the event is nested too deeply to be shown to a rule") from None
        value: object = orjson.loads(self._engine.evaluate(found.rule, document))
        if value == "<undefined>":
            return _UNDEFINED
        for step in found.steps:
            if not isinstance(value, Mapping) or step not in value:
                return _UNDEFINED
            value = value[step]
        return value


def _find(names: Names, data: Mapping[str, object], path: Steps) -> Found | None:
    for length in range(len(path), 1, -1):
        if path[:length] in names.rules:
            return Found(".".join(path[:length]), path[length:])
    if names.below(path):
        # Packages or rules below: its value is an object, which is neither a list of masks nor true.
        return Found("", (), {})
    value: object = data
    for step in path[1:]:
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return Found("", (), value)


class RulesInForce:
    """Keeps the rules in step with the bundle, as the workers do: one that is refused leaves the one before."""

    def __init__(self, settings: Policy, run_dir: Path) -> None:
        self._settings = settings
        self._verdicts = Verdicts(run_dir / "admitted")
        self._seen: object = None
        self._before: object = None
        self._look_at = 0.0
        self._rules: LogRules | ServerRules | None = None
        self._asker = Asker(settings) if settings.engine == "opa" else None
        self._served = self._asker is not None and (not settings.push or isinstance(settings.bundle, str))
        """Whether the bundle is not to be had here, so that the OPA server alone knows its rules."""
        if self._asker is not None and self._served:
            self._rules = ServerRules(settings, self._asker, None)

    def close(self) -> None:
        """Let go of the engine and the connections, in the thread that they belong to."""
        self._rules = None
        if self._asker is not None:
            self._asker.close()

    def refresh(self) -> None:
        """Look for a change, if it is time to. A change is taken up once it has stayed the same for one look."""
        if self._served or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._settings.reload_seconds
        now = self._mark()
        if now != self._seen and (now == self._before or self._seen is None):
            self._seen = now
            self._load()
        self._before = now

    @property
    def revision(self) -> str:
        """That of the bundle whose rules these are; empty where none is known."""
        return "" if self._rules is None else self._rules.revision

    def apply(self, event: Event, beside: Iterable[LogRules | None] = ()) -> tuple[bool, bool]:
        """Whether the event is to be left out, and whether it was masked. `beside`: rules whose masks count as well,
        None for some that are not known. ServerError where only the OPA server can say it, and does not now."""
        if self._rules is not None and self._rules.drops(event):
            return True, False
        masks = [*(self._rules.wanted(event) if self._rules is not None else HIDDEN)]
        # All are found before any is applied: one bundle's mask must not hide from another what that one looks for.
        for each in beside:
            masks += [mask for mask in (HIDDEN if each is None else each.wanted(event)) if mask not in masks]
        return False, apply(event, masks)

    def _mark(self) -> object:
        """Another one whenever the bundle may be."""
        place, verification = self._settings.bundle, self._settings.verification
        if isinstance(place, str):
            return self._verdicts.last_mark(self._settings)
        if verification is None:
            return signature(place)
        return signature(place, everything=True), signature(verification.key)

    def _load(self) -> None:
        try:
            self._rules = LogRules(self._examined(), self._settings)
        except BundleError as error:
            self._refused(error)
        except OSError as error:
            self._seen = None
            _log.warning("log_rules_not_read", problem=error.strerror)

    def _examined(self) -> Admission:
        """The verdict on the bundle as it is now. One on a server is not fetched again: the workers keep the one that
        they took up last."""
        place = self._settings.bundle
        if not isinstance(place, str):
            return examine(load_bundle(place, self._settings.verification), self._settings, self._verdicts)
        last = self._verdicts.read_last(self._settings)
        if last is None:
            problem = Problem(".", 0, 0, "missing", "no bundle of the server is known here")
            raise BundleError([problem])
        return last

    def _refused(self, error: BundleError) -> None:
        if self._asker is not None:
            # OPA may well serve it, and then says itself what its rules are.
            self._rules = ServerRules(self._settings, self._asker, self._here())
        elif self._rules is None and (last := self._verdicts.read_last(self._settings)) is not None:
            self._rules = LogRules(last, self._settings)
        else:
            _log.warning("log_rules_unknown", problem=str(error).partition("\n")[0], erased=self._rules is None)

    def _here(self) -> Bundle | None:
        """The configured bundle, where it can be read."""
        place = self._settings.bundle
        assert not isinstance(place, str)
        try:
            return load_bundle(place, self._settings.verification)
        except BundleError:
            return None
