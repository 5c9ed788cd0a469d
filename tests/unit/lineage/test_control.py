"""The control state: a pure fold over the control records, stored and loaded without loss."""

from __future__ import annotations

from typing import Any

import pytest

from lineage import control
from lineage.control import MAX_ENTRIES, ApiKey, Containment, ControlState, from_rows, load, may_control
from lineage.errors import RecordError
from lineage.record import encode

EMPTY = ControlState()
DIGEST = "ab" * 32
APPLIED: dict[str, Any] = {
    "kind": "containment.applied",
    "at": 1_000,
    "containment": "c1",
    "target_type": "principal",
    "target": "acme/ci-bot",
    "reason": "probing",
    "owner": "detector:refusals",
    "until": 5_000,
}
CREATED: dict[str, Any] = {
    "kind": "admin.key_created",
    "at": 1_000,
    "key": "k1",
    "name": "ci-bot",
    "tenant": "acme",
    "roles": ["agent", "batch"],
    "key_kind": "caller",
    "digest": DIGEST,
    "by": "alice",
}


def fold(*records: dict[str, Any], start: ControlState = EMPTY) -> ControlState:
    state = start
    for index, record in enumerate(records):
        state = state.fold(record, index)
    return state


def test_a_containment_comes_into_being_by_its_record() -> None:
    state = fold(APPLIED)
    contained = Containment("c1", "principal", "acme/ci-bot", "probing", "detector:refusals", 1_000, 5_000)
    assert dict(state.containments) == {"c1": contained}
    assert state.epoch == 1


@pytest.mark.parametrize("kind", ["containment.released", "containment.expired"])
def test_a_containment_ends_by_a_record(kind: str) -> None:
    state = fold(APPLIED, {**APPLIED, "containment": "c2"}, {"kind": kind, "containment": "c1"})
    assert list(state.containments) == ["c2"]
    assert state.epoch == 3


def test_ending_an_unknown_containment_changes_only_the_epoch() -> None:
    state = fold(APPLIED, {"kind": "containment.released", "containment": "other"})
    assert list(state.containments) == ["c1"]
    assert state.epoch == 2


def test_a_containment_applied_again_under_its_id_is_the_newer_one() -> None:
    assert fold(APPLIED, {**APPLIED, "until": 9_000}).containments["c1"].until == 9_000


def test_a_key_comes_into_being_under_its_digest() -> None:
    state = fold({**CREATED, "expires": 7_000})
    assert dict(state.keys) == {DIGEST: ApiKey("k1", DIGEST, "ci-bot", "acme", ("agent", "batch"), "caller", 7_000)}
    assert fold(CREATED).keys[DIGEST].expires is None


def test_a_revoked_key_is_gone_under_every_digest() -> None:
    state = fold(CREATED, {**CREATED, "digest": "cd" * 32}, {"kind": "admin.key_revoked", "key": "k1", "by": "bob"})
    assert dict(state.keys) == {}


def test_records_of_other_kinds_leave_the_very_same_state() -> None:
    state = fold(APPLIED)
    for kind in ("call.intent", "admin.signed_in", "alert.raised", "", None, 7, ["containment.applied"]):
        assert state.fold({**APPLIED, "kind": kind}, 9) is state


def test_states_are_never_changed_in_place() -> None:
    one = fold(APPLIED, CREATED)
    before = (dict(one.containments), dict(one.keys))
    one.fold({"kind": "containment.released", "containment": "c1"}, 2)
    one.fold({"kind": "admin.key_revoked", "key": "k1"}, 2)
    assert (dict(one.containments), dict(one.keys)) == before
    with pytest.raises(TypeError):
        one.keys["x"] = one.keys[DIGEST]  # type: ignore[index]


@pytest.mark.parametrize("field", ["containment", "target_type", "target", "reason", "owner", "until", "at"])
@pytest.mark.parametrize("value", [None, "", 1.5, [], True])
def test_a_malformed_containment_is_refused(field: str, value: object) -> None:
    with pytest.raises(RecordError, match=field):
        fold({**APPLIED, field: value})


@pytest.mark.parametrize("field", ["key", "name", "tenant", "roles", "key_kind", "digest"])
@pytest.mark.parametrize("value", [None, "", 1.5, [1], True])
def test_a_malformed_key_is_refused(field: str, value: object) -> None:
    with pytest.raises(RecordError, match=field):
        fold({**CREATED, field: value})


@pytest.mark.parametrize("digest", ["AB" * 32, "ab" * 31, "zz" * 32, "ab" * 33])
def test_a_digest_is_lower_case_hex_of_a_sha256(digest: str) -> None:
    with pytest.raises(RecordError, match="digest"):
        fold({**CREATED, "digest": digest})


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "containment.released"},
        {"kind": "admin.key_revoked", "key": ""},
        {**APPLIED, "target_type": "galaxy"},
        {**CREATED, "key_kind": "root"},
        {**CREATED, "expires": "never"},
    ],
)
def test_what_cannot_be_folded_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        fold(record)


def test_the_number_of_entries_is_bounded() -> None:
    containments = {str(n): Containment(str(n), "principal", "x", "r", "o", 1, 2) for n in range(MAX_ENTRIES)}
    full = ControlState(1, containments, {})
    with pytest.raises(RecordError, match=str(MAX_ENTRIES)):
        full.fold(APPLIED, 2)
    assert len(full.fold({"kind": "containment.released", "containment": "7"}, 2).containments) == MAX_ENTRIES - 1


def test_a_state_survives_dump_and_load() -> None:
    state = fold(
        APPLIED, {**APPLIED, "containment": "c2", "target_type": "endpoint"}, CREATED, {**CREATED, "digest": "00" * 32}
    )
    assert load(state.dump()) == state
    assert load(EMPTY.dump()) == EMPTY


def test_stored_rows_follow_the_changes() -> None:
    rows: dict[tuple[str, str], bytes] = {}
    state = EMPTY
    steps = [
        APPLIED,
        CREATED,
        {**APPLIED, "containment": "c2"},
        {"kind": "containment.expired", "containment": "c1"},
        {**APPLIED, "containment": "c2", "until": 6_000},
        {"kind": "admin.key_revoked", "key": "k1"},
    ]
    for index, record in enumerate(steps):
        new = state.fold(record, index)
        changes = new.changes(state)
        assert len(changes) == 1
        for kind, name, value in changes:
            if value is None:
                del rows[kind, name]
            else:
                rows[kind, name] = value
        state = new
        assert from_rows(state.epoch, [(kind, name, value) for (kind, name), value in rows.items()]) == state


@pytest.mark.parametrize("record", [APPLIED, CREATED, {"kind": "admin.key_revoked", "key": "k"}])
def test_control_records_are_recognised_in_their_bytes(record: dict[str, Any]) -> None:
    assert may_control(encode({"v": 1, "at": 1, "boot": "b", **record}))


def test_text_that_looks_like_a_control_record_is_not_taken_for_one() -> None:
    base = {"v": 1, "kind": "call.refused", "at": 1, "boot": "b"}
    tricks = ['"kind":"containment.applied"', '\\"kind\\":\\"admin.key_created\\"', 'x","kind":"containment.applied']
    for trick in tricks:
        assert not may_control(encode({**base, "path": trick}))
        assert not may_control(encode({**base, "findings": {"x": 1}, "reasons": [{"detail": trick}]}))


def test_a_nested_kind_is_a_false_alarm_that_the_fold_does_not_follow() -> None:
    record = {"v": 1, "kind": "call.refused", "at": 1, "boot": "b", "labels": {"kind": "containment.applied"}}
    assert may_control(encode(record))
    assert EMPTY.fold(record, 1) is EMPTY


def test_the_control_kinds_are_the_ones_that_fold() -> None:
    assert set(control._FOLDS) == control.CONTROL_KINDS
