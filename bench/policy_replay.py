"""A log of recorded calls, as gateway workers write it, and `cordon policy replay` over it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.policy_mixes import Mix, Played, played
from bench.systems import ROOT
from gateway.kept import KeptInputs
from gateway.records import Facts, intent, outcome, refused
from gateway.secrets import Secrets
from lineage.keys import load_master_key
from lineage.paths import Paths, make_private
from lineage.place import LogPlace
from lineage.record import encode
from lineage.side import TenantKeys
from lineage.side_place import SidePlace
from policies.admission import Admission
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.result import AnswerDecision, RequestDecision
from policies.settings import Policy

BATCH: Final = 1_000
BOOT: Final = "bench"
CONFIGURATION: Final = """
data_dir: {data}
policy: {{bundle: {bundle}}}
tenants: [{{id: acme}}, {{id: globex}}]
routes:
  - {{id: crm, kind: http, prefix: /crm, endpoints: [{{id: eu, url: "http://127.0.0.1:9", jurisdiction: EU}}]}}
"""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay took: recorded calls, decisions on them and their answers, unlike inputs, processor seconds.

    The decision on an answer counts once, although it is asked for at up to three moments.
    """

    name: str
    calls: int
    decisions: int
    inputs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Decisions a second of one core."""
        return self.decisions / self.seconds


def record(folder: Path, mix: Mix, admission: Admission, settings: Policy, calls: int) -> None:
    """Write a log of so many calls of a mix, decided by the bundle, with their inputs kept beside it."""
    assert admission.bundle is not None
    make_private(folder)
    Paths(folder).run.mkdir(exist_ok=True)
    engine = EmbeddedEngine(admission.bundle, settings, admission.reads, admission.uncached)
    loaded: dict[str, object] = {"v": 1, "kind": "policy.loaded", "at": 1, "boot": BOOT, "revision": engine.revision}
    for name, reads in (("reads", engine.request_reads), ("answer_reads", engine.answer_reads)):
        loaded[name] = None if reads is None else sorted(reads)
    with closing(LogPlace(folder, "").store()) as log, closing(SidePlace(folder, "").side()) as side:
        keys = TenantKeys(side, load_master_key(folder), seconds=3_600.0)
        kept = KeptInputs(lambda: 0)
        index = log.size()
        log.append(index, [encode(loaded)])
        index += 1
        records: list[bytes] = []
        blobs: list[tuple[int, bytes]] = []
        for call in played(mix, engine, calls):
            for each, blob in _records(
                call, engine, kept, Secrets(call.subject.principal.tenant, keys.get(call.subject.principal.tenant))
            ):
                records.append(encode(each))
                blobs += [] if blob is None else [(1, blob)]
            if len(records) >= BATCH:
                log.append(index, records)
                index += len(records)
                side.save(blobs)
                records, blobs = [], []
        log.append(index, records)
        side.save(blobs)
        keys.close()


def _records(
    call: Played, engine: EmbeddedEngine, kept: KeptInputs, secrets: Secrets
) -> Iterator[tuple[dict[str, object], bytes | None]]:
    """The records of one call, each with the blob that goes beside it."""
    subject = call.subject
    counts = {kind: int(str(found["count"])) for kind, found in call.request.findings.items()}
    facts = Facts(
        BOOT, subject.call, subject.route.id, subject.method, subject.path, subject.principal, counts,
        policy=engine.revision,
    )  # fmt: skip
    decision = engine.decide_now(Moment.REQUEST, call.documents[0][1])
    assert isinstance(decision, RequestDecision)
    input_ = kept.keep(secrets, call.documents[0][1])
    kept.sent(input_)
    if not decision.allow:
        yield refused(facts, "decision", 403, [each.as_dict() for each in decision.reasons], input_.digest), input_.blob
        return
    facts.redacted = {kind: how for kind, how in decision.redact.items() if kind in counts}
    sent = {"bytes": call.request.size, "digest": secrets.digest(b"bench")}
    yield intent(facts, 1, "eu", call.request.requested_model, sent, input_.digest), input_.blob
    yield _answered(call, facts, engine, sent, kept, secrets)


def _answered(
    call: Played, facts: Facts, engine: EmbeddedEngine, sent: dict[str, object], kept: KeptInputs, secrets: Secrets
) -> tuple[dict[str, object], bytes | None]:
    """The outcome of a call, as its answer's decisions have it."""
    found = {kind: int(str(found["count"])) for kind, found in call.answer.findings.items()}
    redact: dict[str, str] = {}
    last, refusal = b"", None
    for moment, last in call.documents[1:]:
        decision = engine.decide_now(moment, last)
        assert isinstance(decision, AnswerDecision)
        if not decision.allow:
            refusal = decision
            break
        redact.update(decision.redact if moment is not Moment.ANSWER_END else {})
    input_ = kept.keep(secrets, last)
    kept.sent(input_)
    record = outcome(
        facts, 1, "eu", 0, status=200, verdict="allowed" if refusal is None else "blocked", received=sent,
        findings=found, redacted={kind: how for kind, how in redact.items() if kind in found},
        reasons=[] if refusal is None else [each.as_dict() for each in refusal.reasons],
        model="", milliseconds=3, final=True, side=input_.digest,
    )  # fmt: skip
    return record, input_.blob


def replayed(folder: Path, name: str, bundle: Path) -> Replayed:
    """Run the command and read what it says."""
    file = folder / "cordon.yaml"
    file.write_text(CONFIGURATION.format(data=folder, bundle=bundle))
    command = [
        str(Path(sys.executable).with_name("cordon")),
        "policy",
        "replay",
        str(bundle),
        "-c",
        str(file),
        "--json",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    if run.returncode:
        raise SystemExit(f"the replay failed: {run.stderr.strip()}")
    told = json.loads(run.stdout)
    if told["changed"] or told["replayed"] != told["calls"] or told["answers_replayed"] != told["answers"]:
        raise SystemExit(f"the same bundle decides otherwise, or not all: {told}")
    decisions = told["replayed"] + told["answers_replayed"]
    return Replayed(name, told["calls"], decisions, told["unlike_inputs"], told["cpu_seconds"])
