"""What a bundle has to pass to become a draft, and that nothing is stored of one whose record cannot be."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lineage.actions import ActionError, Record, Stamp
from lineage.bundles import BundleStore
from lineage.control import ControlState
from lineage.rollouts import Rollouts, fold
from lineage.side_place import SidePlace
from policies import proposal
from policies.bundle import bundle_of_archive
from policies.errors import BundleError, PolicyError
from policies.proposal import Overtaken, Proposal, examine, propose
from policies.settings import Policy, Verification
from policies.tarball import pack
from tests.support.policies import MINIMAL

TESTED = MINIMAL | {"a_test.rego": "package a_test\n\ntest_one if data.cordon.request.decision.allow\n"}
STAMP = Stamp.now("cli-TEST")


def archive(files: dict[str, str]) -> bytes:
    return pack({name: text.encode() for name, text in files.items()})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BundleStore]:
    with closing(SidePlace(tmp_path).side()) as side:
        yield BundleStore(side)


class Log:
    """The part of a log that takes records about roll-outs."""

    def __init__(self) -> None:
        self.rollouts: Rollouts = {}
        self.records: list[Record] = []

    def control(self) -> ControlState:
        return ControlState(rollouts=self.rollouts)

    def append(self, record: Record) -> int:
        self.records.append(record)
        self.rollouts = fold(self.rollouts, record)
        return len(self.records) - 1


def test_what_passes_is_described() -> None:
    packed = archive(TESTED)
    found = examine(packed, Policy())
    assert found == Proposal(packed, found.digest, bundle_of_archive(packed, "b").revision, 1)


def refused(files: dict[str, str], settings: Policy | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        examine(archive(files), settings or Policy())
    return str(caught.value)


def test_admission_its_tests_and_its_signature_speak_against_a_bundle(tmp_path: Path) -> None:
    assert "request.rego:3" in refused(MINIMAL | {"request.rego": "package cordon.request\ndecision :=\n"})
    failing = TESTED | {"b_test.rego": "package b_test\n\ntest_two if 1 == 2\n"}
    assert "b_test.rego:3: data.b_test.test_two fails" in refused(failing)
    key = tmp_path / "key.pem"
    key.write_text("no key")
    assert refused(TESTED, Policy(verification=Verification(key=key)))


def test_what_is_no_archive_costs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal, "ask", lambda *_: pytest.fail("a process was started"))
    for wrong in (b"", b"no archive", archive(TESTED)[:-9]):
        with pytest.raises(BundleError, match="archive"):
            examine(wrong, Policy())
    with pytest.raises(PolicyError, match="OPA server"):
        examine(archive(TESTED), Policy(engine="opa", url="http://127.0.0.1:8181"))


def test_what_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal, "TEST_SECONDS", 0.5)
    endless = "package e_test\n\ntest_e if count([1 | numbers.range(1, 9000)[_]; numbers.range(1, 9000)[_]]) > 0\n"
    began = time.monotonic()
    with pytest.raises(PolicyError, match="took longer than"):
        examine(archive(MINIMAL | {"e_test.rego": endless}), Policy(admission_seconds=0.5))
    assert time.monotonic() - began < 30


def test_a_bundle_becomes_a_draft_and_what_nobody_needs_goes(store: BundleStore) -> None:
    log, packed = Log(), archive(TESTED)
    found = Proposal(packed, hashlib.sha256(packed).hexdigest(), "ab" * 8, 1)
    made = propose(found, store, STAMP, log.control, log.append, by="ann", scope="acme", note="a note")
    assert (made.index, log.rollouts[made.rollout].stage, log.rollouts[made.rollout].scope) == (0, "draft", "acme")
    assert store.get(found.digest) == packed


@pytest.mark.parametrize("facts", [{"by": ""}, {"by": "ann", "scope": "../x"}, {"by": "ann", "note": "a\nb"}])
def test_nothing_is_stored_where_the_record_cannot_be(store: BundleStore, facts: dict[str, Any]) -> None:
    log = Log()
    found = Proposal(b"archive", hashlib.sha256(b"archive").hexdigest(), "ab" * 8, 0)
    with pytest.raises(ActionError):
        propose(found, store, STAMP, log.control, log.append, **facts)
    assert log.records == [] and store.get(found.digest) is None


def test_a_record_that_came_too_late_is_told(store: BundleStore) -> None:
    log = Log()
    found = Proposal(b"archive", hashlib.sha256(b"archive").hexdigest(), "ab" * 8, 0)
    with pytest.raises(Overtaken):
        propose(found, store, STAMP, log.control, lambda _: 7, by="ann")
