"""Roll-outs: which records move a bundle on, which have no effect, and what holds whatever comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.control import ControlState, from_rows, load, may_control
from lineage.errors import RecordError
from lineage.record import encode
from lineage.rollouts import (
    MOST_BACK,
    MOST_ROLLOUTS,
    REPLACED,
    Rollout,
    compared_with,
    live,
    ordered,
    refusal,
    took_effect,
)

DIGEST = "ab" * 32
EMPTY = ControlState()


def proposed(name: str = "r1", scope: str = "", by: str = "ana", digest: str = DIGEST) -> dict[str, Any]:
    return {
        "kind": "policy.proposed", "at": 1, "rollout": name, "digest": digest, "revision": f"rev-{name}", "by": by,
        "scope": scope,
    }  # fmt: skip


def approved(name: str = "r1", by: str = "ben", digest: str = DIGEST) -> dict[str, Any]:
    return {"kind": "policy.approved", "at": 2, "rollout": name, "by": by, "digest": digest}


def staged(stage: str, name: str = "r1", **more: Any) -> dict[str, Any]:
    part = {"share": 50} if stage == "canary" and not more else {}
    return (
        {"kind": "policy.staged", "at": 3, "rollout": name, "stage": stage, "by": "cat", "base": "base"} | part | more
    )


def withdrawn(name: str = "r1") -> dict[str, Any]:
    return {"kind": "policy.withdrawn", "at": 4, "rollout": name, "by": "cat", "reason": "no"}


def fold(*records: dict[str, Any], start: ControlState = EMPTY) -> ControlState:
    for record in records:
        start = start.fold(record, start.epoch)
    return start


def stages(state: ControlState) -> dict[str, str]:
    return {name: each.stage for name, each in state.rollouts.items()}


def test_a_bundle_goes_from_draft_to_live() -> None:
    state = fold(proposed())
    assert state.rollouts["r1"] == Rollout("r1", DIGEST, "rev-r1", "", "draft", 0, (), "ana", "", "", "", 1)
    state = fold(staged("shadow"), approved(), staged("canary", tenants=["acme"]), start=state)
    assert state.rollouts["r1"].tenants == ("acme",)
    state = fold(staged("live"), start=state)
    assert state.rollouts["r1"] == Rollout("r1", DIGEST, "rev-r1", "", "live", 0, (), "ana", "ben", "base", "", 3)
    assert live(state.rollouts, "") == state.rollouts["r1"] and live(state.rollouts, "acme") is None


@pytest.mark.parametrize(
    ("before", "record", "why"),
    [
        ([], approved(), "not known"),
        ([], staged("shadow"), "not known"),
        ([], withdrawn(), "not known"),
        ([proposed()], proposed(), "already"),
        ([proposed()], approved(by="ana"), "somebody else"),
        ([proposed(by="cli:Ana")], approved(by="ana"), "somebody else"),
        ([proposed()], approved(by="cli:ana"), "somebody else"),
        ([proposed()], approved(digest="cd" * 32), "another bundle"),
        ([proposed()], staged("canary"), "approval of somebody other than ana"),
        ([proposed()], staged("live"), "approval of somebody other than ana"),
        ([proposed(), approved()], approved(by="cat"), "approved already"),
        ([proposed(), approved()], staged("canary"), "in shadow first"),
        ([proposed(), staged("shadow")], staged("shadow"), "in shadow already"),
        ([proposed(), staged("shadow"), proposed("r2")], staged("shadow", "r2"), "finds r1 in shadow"),
        ([proposed(), approved(), staged("live")], withdrawn(), "go back first"),
        ([proposed(), approved(), staged("live")], staged("shadow"), "go back first"),
        (
            [proposed(scope="acme"), approved(), staged("shadow")],
            staged("canary", tenants=["acme"]),
            "of that tenant's calls",
        ),
    ],
)
def test_what_breaks_a_rule_or_comes_too_late_has_no_effect(
    before: list[dict[str, Any]], record: dict[str, Any], why: str
) -> None:
    state = fold(*before)
    assert why in refusal(state.rollouts, record)
    after = fold(record, start=state)
    assert after.rollouts == state.rollouts
    assert not refusal(state.rollouts, proposed("new"))


@pytest.mark.parametrize(
    "record",
    [
        proposed() | {"digest": "AB" * 32},
        proposed() | {"by": ""},
        proposed() | {"at": None},
        proposed() | {"scope": 1},
        staged("gone"),
        staged("canary", share=0),
        staged("canary", share=True),
        staged("canary", share=1_001),
        staged("canary", share=5, tenants=["acme"]),
        staged("canary", tenants=[1]),
        staged("canary", tenants=[f"t{n}" for n in range(65)]),
    ],
)
def test_a_field_that_is_wrong_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="policy\\."):
        fold(record, start=fold(proposed("other")))


def test_going_back_brings_the_one_before_and_takes_the_approval_away() -> None:
    first = fold(proposed(), approved(), staged("live"))
    second = fold(proposed("r2"), approved("r2"), staged("live", "r2", base="newer"), start=first)
    assert stages(second) == {"r1": REPLACED, "r2": "live"} and second.rollouts["r2"].previous == "r1"
    back = fold(staged("draft", "r2"), start=second)
    assert stages(back) == {"r1": "live", "r2": "draft"}
    assert back.rollouts["r2"].approved_by == "" and back.rollouts["r1"].base == "base"
    assert stages(fold(staged("draft", "r1"), start=back)) == {"r1": "draft", "r2": "draft"}


def test_a_tenant_s_own_bundle_is_beside_the_common_one() -> None:
    state = fold(
        proposed(), approved(), staged("live"), proposed("own", "acme"), approved("own"), staged("live", "own")
    )
    assert stages(state) == {"r1": "live", "own": "live"}
    assert state.rollouts["own"].base == "" and state.rollouts["own"].previous == ""


def test_an_erased_tenant_has_no_bundle_and_no_part_in_a_canary() -> None:
    state = fold(proposed("own", "acme"), proposed(), approved(), staged("shadow"), staged("canary", tenants=["acme"]))
    after = fold({"kind": "admin.tenant_erased", "at": 9, "tenant": "acme", "by": "ana"}, start=state)
    assert set(after.rollouts) == {"r1"}
    assert (after.rollouts["r1"].tenants, after.rollouts["r1"].share) == ((), 0)


def test_one_that_is_withdrawn_leaves_the_way_back() -> None:
    records: list[dict[str, Any]] = []
    for name in ("r1", "r2", "r3"):
        records += [proposed(name), approved(name), staged("live", name)]
    state = fold(*records, withdrawn("r2"))
    assert state.rollouts["r3"].previous == "r1"


def test_there_is_an_end_to_how_many_and_how_far_back() -> None:
    state = EMPTY
    for number in range(MOST_BACK + 5):
        name = f"r{number}"
        state = fold(proposed(name), approved(name), staged("live", name), start=state)
    assert list(stages(state).values()).count(REPLACED) == MOST_BACK
    state = fold(*(proposed(f"d{number}") for number in range(MOST_ROLLOUTS)), start=state)
    assert len(state.rollouts) == MOST_ROLLOUTS
    assert "withdraw one" in refusal(state.rollouts, proposed("more"))


def test_it_is_stored_and_loaded_without_loss_and_part_of_what_is_in_force() -> None:
    state = fold(proposed(), approved(), staged("shadow"), staged("canary", tenants=["acme", "globex"]))
    assert load(state.dump()) == state
    assert from_rows(state.epoch, state.changes(EMPTY)) == state
    assert [row[2] for row in fold(withdrawn(), start=state).changes(state)] == [None]
    assert state.digest() != EMPTY.digest()
    for record in (proposed(), approved(), staged("live"), withdrawn()):
        assert may_control(encode({"v": 1, "at": 1, "boot": "b"} | record))


NAMES = st.sampled_from(["r1", "r2", "r3", "r4"])
PEOPLE = st.sampled_from(["ana", "ben"])
RECORDS = st.one_of(
    st.builds(proposed, NAMES, st.sampled_from(["", "acme"]), PEOPLE),
    st.builds(approved, NAMES, PEOPLE),
    st.builds(staged, st.sampled_from(["draft", "shadow", "canary", "live"]), NAMES),
    st.builds(withdrawn, NAMES),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORDS, max_size=40))
def test_whatever_comes_the_rules_hold(records: list[dict[str, Any]]) -> None:
    state = EMPTY
    for record in records:
        told = refusal(state.rollouts, record)
        after = fold(record, start=state)
        assert (after.rollouts == state.rollouts) == bool(told)
        state = after
        rollouts = list(state.rollouts.values())
        for each in rollouts:
            assert each.stage not in {"canary", "live", REPLACED} or each.approved_by not in {"", each.author}
            assert not each.previous or state.rollouts[each.previous].stage == REPLACED
        placed = [(each.scope, each.stage) for each in rollouts if each.stage not in {"draft", REPLACED}]
        assert len(placed) == len(set(placed))
        before = [each.previous for each in rollouts if each.previous]
        assert sorted(before) == sorted(each.id for each in rollouts if each.stage == REPLACED), "each once, none lost"
    assert load(state.dump()) == state


def test_a_record_took_effect_where_the_roll_outs_after_it_say_so() -> None:
    draft = fold(proposed()).rollouts
    ready = fold(proposed(), approved()).rollouts
    used = fold(proposed(), approved(), staged("live")).rollouts
    for record, before, after in (
        (proposed(), {}, draft),
        (approved(), draft, ready),
        (staged("live"), ready, used),
        (withdrawn(), draft, {}),
    ):
        assert took_effect(after, record)
        assert not took_effect(before, record)
    assert not took_effect(ready, approved(by="eve"))
    assert not took_effect({}, staged("live"))


def test_roll_outs_are_ordered_by_scope_and_by_who_decides_first() -> None:
    state = fold(
        proposed("own", "acme"), proposed("draft"), proposed("old"), proposed("new"), proposed("tried"),
        approved("old"), approved("new"), staged("live", "old"), staged("live", "new"), staged("shadow", "tried"),
    )  # fmt: skip
    assert [each.id for each in ordered(state.rollouts)] == ["new", "tried", "draft", "old", "own"]


def test_a_roll_out_is_compared_with_what_decides_in_its_place_or_did_before_it() -> None:
    state = fold(proposed("old"), proposed("new"), proposed("own", "acme"), approved("old"), approved("new"))
    assert compared_with(state.rollouts, state.rollouts["new"]) is None
    state = fold(staged("live", "old"), start=state)
    assert compared_with(state.rollouts, state.rollouts["new"]) == state.rollouts["old"]
    assert compared_with(state.rollouts, state.rollouts["old"]) is None
    assert compared_with(state.rollouts, state.rollouts["own"]) is None
    state = fold(staged("live", "new"), start=state)
    assert compared_with(state.rollouts, state.rollouts["new"]) == state.rollouts["old"]
