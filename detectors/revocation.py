"""A revocation list that cannot be relied on: overdue, or older than the one in force.

Every worker says so itself; one alert is enough for one file's fault until it is mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from detectors.alert import Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Case, Detector, Facts, number, parse, text
from detectors.settings import Severity

SEVERITY: Final[Mapping[str, Severity]] = {"overdue": "medium", "older": "high"}
MEANING: Final[Mapping[str, str]] = {
    "overdue": "is overdue: client certificates of its authority are refused",
    "older": "is older than the list in force and was not taken",
}
MOST_TOLD: Final = 128


class Revocation(Detector):
    """A revocation list has become overdue, or was replaced by an older one."""

    name = "revocation"
    kinds = frozenset({b"tls.list_faults"})
    title = "Revocation list not in order"
    meaning = (
        "A list of revoked client certificates is overdue, or somebody saved one that is older than that in force."
    )
    remedy = "Save the authority's newest list under that name. Where it was older, find out who saved it."

    def __init__(self) -> None:
        self._told: list[str] = []

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Raise an alert for each fault that the record before did not name."""
        facts = parse(record)
        at = number(facts, "at")
        found: list[str] = []
        alerts: list[Emission] = []
        for each in cast("Sequence[Mapping[str, object]]", facts.get("lists") or ()):
            fault, file = text(each, "fault"), text(each, "file")
            what = f"{fault} {file}"[:256]
            found.append(what)
            if what not in self._told and fault in SEVERITY:
                alerts.append(_alert(fault, file, index, at).emission())
        self._told = found[:MOST_TOLD]
        return alerts

    def snapshot(self) -> Fields:
        """The faults that there are now."""
        return {"told": self._told}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        self._told = list(cast("list[str]", snapshot["told"]))


def _alert(fault: str, file: str, index: int, at: int) -> Alert:
    return Alert(
        detector=Revocation.name,
        severity=SEVERITY[fault],
        tenant="",
        subject_type="gateway",
        subject=f"{file[:150]} ({fault})",  # one record can name several, and an id is made of subject and record
        summary=f"{file[:150]} {MEANING[fault]}",
        evidence=(index,),
        count=1,
        since=at,
        until=at,
    )


def _faults(*named: str) -> Facts:
    lists = [dict(zip(("fault", "file"), each.split(), strict=True)) for each in named]
    return {"kind": "tls.list_faults", "at": 1, "lists": lists}


_OVERDUE = _faults("overdue a.crl")
Revocation.cases = (
    Case("a list is overdue", [_OVERDUE], ["a.crl (overdue)"]),
    Case("by four workers", [_OVERDUE] * 4, ["a.crl (overdue)"]),
    Case("an older one was saved", [_faults("older a.crl")], ["a.crl (older)"]),
    Case("two at once", [_faults("older a.crl", "overdue a.crl")], ["a.crl (older)", "a.crl (overdue)"]),
    Case("then another", [_OVERDUE, _faults("overdue a.crl", "older b.crl")], ["a.crl (overdue)", "b.crl (older)"]),
    Case("again after it was mended", [_OVERDUE, _faults(), _OVERDUE], ["a.crl (overdue)"] * 2),
    Case("all lists are in order", [_faults()]),
)  # fmt: skip
