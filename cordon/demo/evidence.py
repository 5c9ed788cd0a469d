"""What the log holds of it all: the records, a proof that one of them is in the log, and the verification of the
whole."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import groupby

import click

from cordon.demo.screen import Screen
from cordon.demo.stage import Record, Stage
from cordon.output import printable
from lineage.errors import VerificationError
from lineage.keys import load_verifier
from lineage.note import Verifier
from lineage.proof import Proof, prove
from lineage.verify import verify

COLOURS = {"allowed": "green", "blocked": "red", "cut": "red", "failed": "red"}
HIDDEN = {"process.started", "policy.loaded"}
MOST_ALIKE = 2


def show_records(stage: Stage, screen: Screen) -> None:
    """The table of what happened, refusals of the same kind folded."""
    screen.heading("What the log says")
    rows = []
    shown = [record for record in stage.records() if record["kind"] not in HIDDEN]
    for alike, group in groupby(shown, key=_fold_key):
        members = list(group)
        folded = len(members) - MOST_ALIKE if alike else 0
        rows += [_row(record) for record in members[: MOST_ALIKE if folded > 1 else None]]
        if folded > 1:
            rows.append(("…", "", click.style(f"{folded} more like these", dim=True), "", ""))
    screen.table(("no.", "time", "kind", "who", "what"), rows)


def show_proof(stage: Stage, screen: Screen) -> None:
    """An inclusion proof for the masked call's intent, and that it fails for anything else."""
    screen.heading("A proof of inclusion")
    index = next(record["index"] for record in stage.records(0, "call.intent") if record.get("redacted"))
    keys = [load_verifier(stage.config.data_dir)]
    proof = _proved(stage, index)
    ((_, record),) = stage.reader.read(index, 1)
    checkpoint = proof.verify(record, keys)
    screen.fact("record", f"{index}: the intent of the call that was masked, {len(record)} bytes")
    screen.fact("path", f"{len(proof.path)} hashes from its leaf to the root ({checkpoint.size} records)")
    screen.fact("root", checkpoint.root.hex())
    screen.fact("signed by", checkpoint.origin)
    screen.check(True, "the record is in the log; checked with the public key alone, as anybody outside can")
    forged = record.replace(b'"payment_card":1', b'"payment_card":0')
    screen.check(forged != record and _refuted(proof, forged, keys), "with one digit changed the same proof fails")


def show_verification(stage: Stage, screen: Screen) -> None:
    """The whole log, built again from its records."""
    screen.heading("The whole log, verified")
    report = verify(stage.reader, [load_verifier(stage.config.data_dir)])
    for check in report.checks:
        screen.check(not check.wrong, f"{check.name}: {check.checked} {check.what}")
        for fault in check.findings:
            screen.fact("fault", fault)


def _proved(stage: Stage, index: int) -> Proof:
    """A new checkpoint is made every second: wait for one that covers the record."""
    deadline = time.monotonic() + 5
    while stage.reader.checkpoint_size() <= index and time.monotonic() < deadline:
        time.sleep(0.05)
    return prove(stage.reader, index)


def _refuted(proof: Proof, record: bytes, keys: list[Verifier]) -> bool:
    try:
        proof.verify(record, keys)
    except VerificationError:
        return True
    return False


def _fold_key(record: Record) -> tuple[object, ...]:
    """Records with the same key, one after the other, are folded; those without never."""
    if record["kind"] == "call.refused":
        return ("call.refused", record.get("principal"))
    return ()


def _row(record: Record) -> tuple[str, str, str, str, str]:
    at = datetime.fromtimestamp(record["at"] / 1000, UTC).astimezone().strftime("%H:%M:%S")
    who = record.get("principal") or record.get("subject") or record.get("target") or record.get("by") or record["boot"]
    return (str(record["index"]), at, record["kind"], printable(who), _what(record))


def _what(record: Record) -> str:
    kind = record["kind"]
    if kind == "call.intent":
        redacted = f", redacted {', '.join(record['redacted'])}" if record["redacted"] else ""
        return f"→ {record['endpoint']}{redacted}"
    if kind == "call.outcome":
        verdict = click.style(record["verdict"], fg=COLOURS[record["verdict"]])
        return f"{verdict}, {record['status']}, {record['ms']} ms"
    if kind == "call.refused":
        reason = record["reasons"][0] if record.get("reasons") else {}
        why = reason.get("rule") or reason.get("code") or record.get("reason", "")
        count = f"{record['count']} × " if "count" in record else ""
        return f"{count}{printable(why)}"
    if kind.startswith("containment"):
        return printable(record.get("reason", record["containment"]))
    return printable(record.get("summary") or record.get("name") or record.get("role") or "")
