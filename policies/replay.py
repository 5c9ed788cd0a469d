"""Recorded calls, decided anew by a candidate bundle: what would be refused, allowed, redacted or routed otherwise.

The log says what was decided; the masked inputs of the decisions on each request and its answer are kept beside it, as
far as the bundle in force then could read them (`policy.loaded` says how far that was). A decision whose input is not
there, or does not show what the candidate reads, is not replayed, and is counted by the reason.

    replay_past.py      what the log says of a decision and what its input shows
    replay_deciders.py  who decides it anew: the candidate, and the bundle that stays beside it
    replay_answers.py   the moments of an answer, decided anew
    replay_report.py    what is different, counted
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Literal

from lineage.kept import Load
from policies.cache import Cache
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import PolicyError
from policies.replay_answers import TEXT, Anew, by_text, decide_anew
from policies.replay_deciders import Decider, Deciders, Find, missing
from policies.replay_past import Past, Shown, read_past
from policies.replay_report import Report, answer_differences, differences
from policies.result import Reason, RequestDecision
from policies.settings import Policy

MOST_KNOWN: Final = 20_000
GONE: Final = "its input is gone"


class Replay:
    """Decides recorded calls anew by a candidate, whose `engine` may remember decisions.

    It takes the place of the common bundle, or else of the tenant's `own` one (or of none) beside it; `find` has the
    bundles that stay. `ahead` is told which inputs `load` will be asked for, most likely, before it is asked for the
    first of them.
    """

    def __init__(
        self,
        engine: EmbeddedEngine,
        settings: Policy,
        load: Load,
        ahead: Callable[[Collection[str]], None] = lambda digests: None,
        find: Find = lambda revision: None,
        *,
        own: bool = False,
    ) -> None:
        self._deciders = Deciders(engine, find, own=own)
        self._own = own
        self._pass_answers = settings.unsafe_pass_answers
        self._load = load
        self._ahead = ahead
        self._shown = Shown()
        self._why_not: dict[tuple[str, str, bool], str] = {}
        self._known: Cache[RequestDecision | Literal["gone"]] = Cache(MOST_KNOWN)
        self._known_answers: Cache[Anew | Literal["gone"]] = Cache(MOST_KNOWN)
        self.report = Report(engine.revision)

    def take(self, records: Iterable[tuple[int, Mapping[str, object]]]) -> None:
        """Take the log's next records: decisions are replayed, loaded bundles noted, all else passed over.

        However many are taken at once, it comes to the same; what they need is read at once.
        """
        # Little is held of each: many young objects would have the collector look through all, again and again.
        read = [read_past(index, record, self._own) or record for index, record in records]
        known, answers = self._known, self._known_answers
        needed = {
            each.side for each in read if isinstance(each, Past) and each.key not in (answers if each.answer else known)
        }
        self._ahead(needed - {""})
        for each in read:
            if not isinstance(each, Past):
                self._note(each)
            elif each.answer:
                self._replay_answer(each)
            else:
                self._replay(each)

    def loaded(self, record: Mapping[str, object]) -> None:
        """Note what a bundle that was in force showed of its inputs; also of one that was loaded before the period."""
        if record.get("kind") == "policy.loaded":
            self._shown.loaded(record)
            self._why_not.clear()

    def _note(self, record: Mapping[str, object]) -> None:
        kind, counted = record.get("kind"), record.get("count")
        if kind == "policy.loaded":
            self.loaded(record)
        elif kind == "call.refused" and record.get("stage") == "decision" and isinstance(counted, int):
            self.report.calls += counted
            self.report.left_out["only counted"] += counted

    def _replay(self, past: Past) -> None:
        report = self.report
        report.calls += 1
        why = self._left_out(past) or past.missing
        decision = None if why else self._decision(past)
        if decision is None or decision == "gone":
            report.left_out[why or GONE] += 1
        else:
            report.replayed += 1
            report.add(differences(past, decision))

    def _replay_answer(self, past: Past) -> None:
        report = self.report
        report.answers += 1
        why = past.missing or self._left_out(past)
        if self._pass_answers:
            why = "answers pass undecided (policy.unsafe_pass_answers)"
        anew = None if why else self._anew(past)
        if anew is not None and anew != "gone" and not anew.rules and not past.allowed and by_text(past.rules):
            why = TEXT
        if anew is None or anew == "gone" or why:
            report.answers_left_out[why or GONE] += 1
        else:
            report.answers_replayed += 1
            report.by_text += anew.by_text
            report.add(answer_differences(past, anew))

    def _left_out(self, past: Past) -> str:
        """Why nothing can be decided on such a call, whatever its input is; empty where it can."""
        key = (past.revision, past.own, past.answer)
        why = self._why_not.get(key)
        if why is None:
            decider = self._deciders.of(past)
            if decider is None:
                return missing(past)
            reads = decider.answer_reads if past.answer else decider.request_reads
            why = self._why_not[key] = self._shown.hides(past, reads)
        return why

    def _decision(self, past: Past) -> RequestDecision | Literal["gone"]:
        """What is decided on a request now; calls with the same input share it."""
        decision = self._known.get(past.key)
        if decision is None:
            document = self._loaded(past)
            decision = "gone" if document is None else self._decide(past, document)
            self._known.put(past.key, decision, 1)
        return decision

    def _anew(self, past: Past) -> Anew | Literal["gone"]:
        anew = self._known_answers.get(past.key)
        if anew is None:
            document, decider = self._loaded(past), self._decider(past)
            anew = (
                "gone"
                if document is None
                else decide_anew(document, decider.decide, decider.answer_reads, found=past.findings)
            )
            self._known_answers.put(past.key, anew, 1)
        return anew

    def _loaded(self, past: Past) -> bytes | None:
        document = self._load(past.tenant, past.side)
        self.report.inputs += document is not None
        return document

    def _decide(self, past: Past, document: bytes) -> RequestDecision:
        try:
            decision = self._decider(past).decide(Moment.REQUEST, document)
        except PolicyError as error:
            return RequestDecision(False, (Reason("policy_failed", str(error)),))
        assert isinstance(decision, RequestDecision)
        return decision

    def _decider(self, past: Past) -> Decider:
        decider = self._deciders.of(past)
        assert decider is not None
        return decider
