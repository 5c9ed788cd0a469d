"""Recorded calls, decided anew by a candidate bundle: what would be refused, allowed, redacted or routed otherwise.

The log says what was decided; the masked inputs of the decisions on each request and its answer are kept beside it, as
far as the bundle in force then could read them (`policy.loaded` says how far that was). A decision whose input is not
there, or does not show what the candidate reads, is not replayed, and is counted by the reason.

    replay_past.py      what the log says of a decision and what its input shows
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
from policies.replay_past import Past, Shown, read_past
from policies.replay_report import Report, answer_differences, differences
from policies.result import Reason, RequestDecision
from policies.settings import Policy

MOST_KNOWN: Final = 20_000
GONE: Final = "its input is gone"


class Replay:
    """Decides recorded calls anew by a candidate, whose `engine` may remember decisions.

    `ahead` is told which inputs `load` will be asked for, most likely, before it is asked for the first of them.
    """

    def __init__(
        self,
        engine: EmbeddedEngine,
        settings: Policy,
        load: Load,
        ahead: Callable[[Collection[str]], None] = lambda digests: None,
    ) -> None:
        self._engine = engine
        self._pass_answers = settings.unsafe_pass_answers
        self._load = load
        self._ahead = ahead
        self._shown = Shown()
        self._hidden: dict[tuple[str, bool], str] = {}
        self._known: Cache[RequestDecision | Literal["gone"]] = Cache(MOST_KNOWN)
        self._known_answers: Cache[Anew | Literal["gone"]] = Cache(MOST_KNOWN)
        self.report = Report(engine.revision)

    def take(self, records: Iterable[tuple[int, Mapping[str, object]]]) -> None:
        """Take the log's next records: decisions are replayed, loaded bundles noted, all else passed over.

        However many are taken at once, it comes to the same; what they need is read at once.
        """
        # Little is held of each: many young objects would have the collector look through all, again and again.
        read = [read_past(index, record) or record for index, record in records]
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
            self._hidden.clear()

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
        if past.own:
            # What was done is the word of both: one that takes the place of either cannot be compared with it.
            report.left_out["it was decided by two bundles, the common one and the tenant's own"] += 1
            return
        why = self._hides(past) or past.missing
        decision = None if why else self._decision(past)
        if decision is None or decision == "gone":
            report.left_out[why or GONE] += 1
        else:
            report.replayed += 1
            report.add(differences(past, decision))

    def _replay_answer(self, past: Past) -> None:
        report = self.report
        report.answers += 1
        why = past.missing or self._hides(past)
        if self._pass_answers:
            why = "answers pass undecided (policy.unsafe_pass_answers)"
        anew = None if why else self._anew(past)
        if anew is not None and anew != "gone" and not anew.rules and not past.allowed and by_text(past.rules):
            why = TEXT
        if anew is None or anew == "gone" or why:
            report.answers_left_out[why or GONE] += 1
        else:
            report.answers_replayed += 1
            report.add(answer_differences(past, anew))

    def _hides(self, past: Past) -> str:
        """What the candidate reads and the input does not show."""
        key = (past.revision, past.answer)
        why = self._hidden.get(key)
        if why is None:
            reads = self._engine.answer_reads if past.answer else self._engine.request_reads
            why = self._hidden[key] = self._shown.hides(past.revision, reads, answers=past.answer)
        return why

    def _decision(self, past: Past) -> RequestDecision | Literal["gone"]:
        """The candidate's decision; calls with the same input share it."""
        decision = self._known.get(past.key)
        if decision is None:
            document = self._loaded(past)
            decision = "gone" if document is None else self._decide(document)
            self._known.put(past.key, decision, 1)
        return decision

    def _anew(self, past: Past) -> Anew | Literal["gone"]:
        anew = self._known_answers.get(past.key)
        if anew is None:
            document = self._loaded(past)
            decide, reads = self._engine.decide_now, self._engine.answer_reads
            anew = "gone" if document is None else decide_anew(document, decide, reads, found=bool(past.findings))
            self._known_answers.put(past.key, anew, 1)
        return anew

    def _loaded(self, past: Past) -> bytes | None:
        document = self._load(past.tenant, past.side)
        self.report.inputs += document is not None
        return document

    def _decide(self, document: bytes) -> RequestDecision:
        try:
            decision = self._engine.decide_now(Moment.REQUEST, document)
        except PolicyError as error:
            return RequestDecision(False, (Reason("policy_failed", str(error)),))
        assert isinstance(decision, RequestDecision)
        return decision
