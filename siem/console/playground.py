"""The playground: a bundle that somebody is writing, tried on an input, apart from the bundle in force.

Files are one text with a line `-- NAME --` before each, so that the page is a form like any other. Each try is a
process that is bounded in time and memory (`policies.trial`), one at a time for each operator and few in all.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from lineage.actions import read_input
from lineage.errors import RecordError, SideError
from lineage.kept import kept_inputs
from lineage.metrics import Meter
from lineage.reader import LogReader
from lineage.side_place import SidePlace
from policies.bundle import Bundle
from policies.engine import Moment
from policies.errors import BundleError, PolicyError
from policies.settings import Policy
from policies.tarball import pack
from policies.trial import check_names, try_out
from siem.console.calls import record_at, records_of
from siem.console.errors import Invalid, NotFound, Throttled
from siem.console.journal import Journal
from siem.console.rollouts import CONFIGURED, RolloutDesk
from siem.console.turns import Turns

MOST_AT_ONCE: Final = 2
OUTCOMES: Final = ("allowed", "denied", "checked", "refused", "error", "invalid", "busy")
_HEADING: Final = re.compile(r"-- (\S{1,200}) --")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded call's masked input, and the moment that it was of."""

    document: Any
    moment: Moment


@dataclass(frozen=True, slots=True)
class Start:
    """A bundle to begin with: `name` is a roll-out's id or `configured`, `text` says what it is."""

    name: str
    text: str


class Playground:
    """What is tried starts from the bundles that the desk for roll-outs has."""

    def __init__(
        self,
        journal: Journal,
        reader: LogReader,
        place: SidePlace,
        desk: RolloutDesk,
        settings: Policy,
        meter: Meter,
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._place = place
        self._desk = desk
        self._settings = settings
        self._turns = Turns(MOST_AT_ONCE, "Another try")
        self._counting = threading.Lock()
        self._outcomes = {each: meter.counter("cordon_policy_trials_total", each) for each in OUTCOMES}
        self._seconds = meter.histogram("cordon_policy_trial_seconds")

    def starts(self) -> list[Start]:
        """The bundles that can be begun with, the one in force first."""
        now = self._desk.in_force().rollout
        found = [Start(CONFIGURED, "the configured bundle" + ("" if now else ", in force"))]
        for each in self._desk.all():
            whose = f", {each.scope}'s own" if each.scope else ""
            start = Start(each.id, f"{each.id}: {'in force' if each == now else each.stage}{whose}")
            found.insert(0 if each == now else len(found), start)
        return found

    def start(self, name: str) -> str:
        """The files of one of `starts` as one text; `Invalid` where they cannot be read, `NotFound` for no such one."""
        try:
            return joined(self._desk.configured() if name == CONFIGURED else self._desk.bundle(self._desk.one(name)))
        except (PolicyError, SideError) as error:
            raise Invalid(f"That bundle cannot be read: {error}", field="start") from error

    def recorded(self, name: str, *, by: str, moment: Moment | None = None) -> Recorded:
        """The masked input of a call that is named by the index of one of its records or by its id.

        A call may have more than one: of its id, `moment` says which; without it, what it was sent with is meant. That
        it was read is recorded first. `NotFound` where there is none.
        """
        if name.isascii() and name.isdigit() and len(name) < len("0" * 26):
            index = int(name)
            return self._input(index, record_at(self._reader, self._journal.control, index), by=by)
        try:
            found = [(at, record) for at, record in records_of(self._reader, name) if record.get("side")]
        except RecordError as error:
            raise NotFound("That is neither a log index nor a call id, which has 26 digits and capitals.") from error
        if not found:
            raise NotFound("The log has no such call, or none of its records names an input.")
        answer = moment is not None and moment is not Moment.REQUEST
        return self._input(*found[-1 if answer else 0], by=by)

    def _input(self, index: int, record: Mapping[str, Any], *, by: str) -> Recorded:
        side = record.get("side")
        if not isinstance(side, str) or not side:
            raise NotFound("That record names no input: give the index of a call's intent, outcome or refusal.")
        tenant = str(record.get("tenant", ""))
        self._journal.append(read_input(self._journal.stamp(), index=index, tenant=tenant, by=by))
        with kept_inputs(self._place.data_dir, self._place.database) as kept:
            document = kept(tenant, side)
        if document is None:
            raise NotFound("The input is gone: it is kept for a time, or its tenant was erased.")
        value = orjson.loads(document)
        if not isinstance(value, dict) or value.get("phase") not in set(Moment):
            raise NotFound("The input that was kept is none of a decision.")
        return Recorded(value, Moment(value["phase"]))

    def run(
        self, files: Mapping[str, str], document: object, moment: Moment, *, tests: bool, by: str
    ) -> dict[str, Any]:
        """Try a bundle out (`policies.trial.try_out`); `Invalid` where that cannot be done."""
        outcome, began = "error", 0.0
        try:
            with self._turns.of(by):
                began = time.monotonic()
                answer = try_out(files, document, moment, self._settings, tests=tests)
            outcome = _outcome(answer)
            return answer
        except Throttled:
            outcome = "busy"
            raise
        except BundleError as error:
            outcome = "invalid"
            raise Invalid(f"{error.problems[0]}", field="files") from error
        except PolicyError as error:
            raise Invalid(f"{error}.", field="files") from error
        finally:
            with self._counting:
                self._outcomes[outcome].inc()
                if began:
                    self._seconds.observe(time.monotonic() - began)


def _outcome(answer: Mapping[str, Any]) -> str:
    """What came of a try, as it is counted."""
    if not answer["admitted"]:
        return "refused"
    if answer.get("error"):
        return "error"
    decision = answer.get("decision")
    return "checked" if decision is None else "allowed" if decision["allow"] else "denied"


def joined(bundle: Bundle) -> str:
    """A bundle's files as one text; its data as data.json."""
    files = {**bundle.modules, **bundle.tests}
    if bundle.data:
        files["data.json"] = orjson.dumps(bundle.data, option=orjson.OPT_INDENT_2).decode() + "\n"
    return "".join(f"-- {file} --\n{text.rstrip()}\n\n" for file, text in sorted(files.items(), key=_order))


def _order(item: tuple[str, str]) -> tuple[int, str]:
    """Rules first, then data, then tests."""
    file = item[0]
    return (2 if file.endswith("_test.rego") else 0 if file.endswith(".rego") else 1), file


def parted(text: str) -> dict[str, str]:
    """The files in one text; `Invalid` where a name stands twice or something stands before the first."""
    files: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.replace("\r\n", "\n").split("\n"):
        heading = _HEADING.fullmatch(line)
        if heading is not None:
            if heading[1] in files:
                raise Invalid(f"The file {heading[1]} is there twice.", field="files")
            lines = files[heading[1]] = []
        elif lines is not None:
            lines.append(line)
        elif line.strip():
            raise Invalid("Put a line such as -- request.rego -- before the first file.", field="files")
    return {file: "\n".join(found).rstrip() + "\n" for file, found in files.items()}


def packed(files: Mapping[str, str]) -> bytes:
    """The archive of files that were typed; `Invalid` where they are none of a bundle."""
    try:
        check_names(files)
    except BundleError as error:
        raise Invalid(f"{error.problems[0]}", field="files") from error
    return pack({file: text.encode() for file, text in files.items()})
