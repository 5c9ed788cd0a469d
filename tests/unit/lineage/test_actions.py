"""What people and detectors may put into the log, and what the builders of those records refuse."""

from __future__ import annotations

import hashlib
import re

import pytest

from lineage import actions
from lineage.actions import ActionError, Stamp, UnknownTarget

STAMP = Stamp(1_700_000_000_000, "control-0-01J")
DAY_MS = 86_400_000


def applied(**changes: object) -> dict[str, object]:
    asked: dict[str, object] = {
        "target_type": "principal",
        "target": "acme/ci-bot",
        "reason": "probing",
        "owner": "alice",
        "seconds": 900,
    }
    return actions.apply_containment(STAMP, **(asked | changes))  # type: ignore[arg-type]


def test_now_is_a_plausible_millisecond_time():
    stamp = Stamp.now("cli-01J")
    assert 1_700_000_000_000 < stamp.at < 10_000_000_000_000
    assert stamp.boot == "cli-01J"


def test_a_created_key_is_found_by_the_digest_of_its_whole_text_and_the_text_is_not_in_the_record():
    text, record = actions.create_key(STAMP, name="ci-bot", tenant="acme", roles=["b", "a", "b"], by="alice")
    assert re.fullmatch(r"cordon_[A-Za-z0-9_-]{43}", text)
    assert record["digest"] == hashlib.sha256(text.encode()).hexdigest() == actions.key_digest(text)
    assert text not in repr(record)
    assert record == {
        "v": 1,
        "kind": "admin.key_created",
        "at": STAMP.at,
        "boot": STAMP.boot,
        "key": record["key"],
        "name": "ci-bot",
        "tenant": "acme",
        "roles": ["a", "b"],
        "key_kind": "caller",
        "digest": record["digest"],
        "by": "alice",
    }


def test_a_reader_key_is_told_apart_by_its_prefix_and_kind():
    text, record = actions.create_key(
        STAMP, name="auditor", tenant="acme", kind="reader", by="alice", expires=STAMP.at + 1
    )
    assert text.startswith("cordonr_")
    assert (record["key_kind"], record["expires"]) == ("reader", STAMP.at + 1)


def test_no_two_keys_or_containments_share_an_id_or_text():
    keys = [actions.create_key(STAMP, name="x", tenant="acme", by="a") for _ in range(50)]
    assert len({text for text, _ in keys}) == len({record["key"] for _, record in keys}) == 50
    assert len({applied()["containment"] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("kind", {"kind": "root"}),
        ("expires", {"expires": STAMP.at}),
        ("expires", {"expires": STAMP.at + 11 * 366 * DAY_MS}),
        ("name", {"name": ""}),
        ("name", {"name": "CI"}),
        ("name", {"name": "a/b"}),
        ("name", {"name": "a\n"}),
        ("tenant", {"tenant": "../x"}),
        ("roles", {"roles": "admin"}),
        ("roles", {"roles": ["a b"]}),
        ("roles", {"roles": [f"r{n}" for n in range(17)]}),
        ("by", {"by": "<script>"}),
    ],
)
def test_a_key_is_refused_with_the_name_of_the_bad_field(field, asked):
    with pytest.raises(ActionError) as caught:
        actions.create_key(STAMP, **({"name": "ci-bot", "tenant": "acme", "by": "alice"} | asked))
    assert caught.value.field == field


def test_a_containment_has_an_owner_a_reason_and_an_end():
    record = applied(reason="  probing with a stolen key ", alert="alert-1")
    assert record == {
        "v": 1,
        "kind": "containment.applied",
        "at": STAMP.at,
        "boot": STAMP.boot,
        "containment": record["containment"],
        "target_type": "principal",
        "target": "acme/ci-bot",
        "tenant": "acme",
        "reason": "probing with a stolen key",
        "owner": "alice",
        "until": STAMP.at + 900_000,
        "alert": "alert-1",
    }


def test_an_endpoint_can_be_contained_and_belongs_to_no_tenant():
    record = applied(target_type="endpoint", target="openai-eu", owner="detector:refusal-burst")
    assert "tenant" not in record
    assert record["target"] == "openai-eu"


def test_a_detector_brings_an_id_of_its_own_so_that_a_repeated_record_is_known():
    assert applied(containment="containment-0a1b")["containment"] == "containment-0a1b"
    with pytest.raises(ActionError):
        applied(containment="a b")


def test_thirty_days_is_the_longest_containment():
    assert applied(seconds=30 * 86_400)["until"] == STAMP.at + 30 * DAY_MS
    with pytest.raises(ActionError, match="30 days"):
        applied(seconds=30 * 86_400 + 1)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("seconds", {"seconds": 0}),
        ("seconds", {"seconds": -1}),
        ("seconds", {"seconds": 1.5}),
        ("seconds", {"seconds": True}),
        ("seconds", {"seconds": None}),
        ("target_type", {"target_type": "tenant"}),
        ("target", {"target": "ci-bot"}),
        ("target", {"target": "acme/ci/bot"}),
        ("target", {"target": "acme/"}),
        ("target", {"target": None}),
        ("target", {"target_type": "endpoint", "target": "acme/x"}),
        ("reason", {"reason": ""}),
        ("reason", {"reason": " \t "}),
        ("reason", {"reason": "a\nb"}),
        ("reason", {"reason": "x" * 501}),
        ("reason", {"reason": "\ud800"}),
        ("reason", {"reason": "\u202etxt"}),
        ("reason", {"reason": "leaked cordon_" + "A" * 43}),
        ("owner", {"owner": ""}),
        ("owner", {"owner": "a b"}),
        ("alert", {"alert": "x\ny"}),
    ],
)
def test_a_containment_is_refused_with_the_name_of_the_bad_field(field, asked):
    with pytest.raises(ActionError) as caught:
        applied(**asked)
    assert caught.value.field == field


def test_an_error_does_not_repeat_the_key_it_found():
    secret = "cordon_" + "B" * 43
    with pytest.raises(ActionError) as caught:
        applied(reason=f"stolen {secret}")
    assert secret not in str(caught.value)


def test_only_what_is_in_force_can_be_released_expired_or_revoked():
    release = actions.release_containment(STAMP, containment="con-1", by="alice", reason="over", known={"con-1"})
    assert release == {
        "v": 1,
        "kind": "containment.released",
        "at": STAMP.at,
        "boot": STAMP.boot,
        "containment": "con-1",
        "by": "alice",
        "reason": "over",
    }
    assert actions.expire_containment(STAMP, containment="con-1", known={"con-1"})["kind"] == "containment.expired"
    assert actions.revoke_key(STAMP, key="key-1", by="alice", known={"key-1"})["key"] == "key-1"
    for attempt in (
        lambda: actions.release_containment(STAMP, containment="con-2", by="alice", reason="over", known={"con-1"}),
        lambda: actions.expire_containment(STAMP, containment="con-2", known={"con-1"}),
        lambda: actions.revoke_key(STAMP, key="key-2", by="alice", known=()),
    ):
        with pytest.raises(UnknownTarget, match="not in force"):
            attempt()


def test_a_release_needs_a_reason():
    with pytest.raises(ActionError, match="say in a few words why"):
        actions.release_containment(STAMP, containment="con-1", by="alice", reason="", known={"con-1"})


def test_account_records_name_account_roles_and_actor():
    created = actions.create_account(STAMP, account="alice", roles=["admin"], by="one-time-link")
    assert (created["kind"], created["account"], created["roles"]) == ("admin.account_created", "alice", ["admin"])
    changed = actions.change_account(STAMP, account="bob", roles=[], change="disabled", by="alice")
    assert (changed["kind"], changed["change"], changed["by"]) == ("admin.account_changed", "disabled", "alice")


@pytest.mark.parametrize("source", ["127.0.0.1", "::1", "fe80::1%eth0", "unix"])
def test_a_sign_in_record_names_the_peer(source):
    assert actions.sign_in(STAMP, account="alice", source=source)["source"] == source


def test_a_failed_sign_in_leaves_out_a_name_that_no_account_has():
    record = actions.sign_in_failed(STAMP, account="", source="::1", count=7, interval_ms=60_000)
    assert "account" not in record
    assert (record["count"], record["interval_ms"]) == (7, 60_000)
    assert actions.sign_in_failed(STAMP, account="bob", source="::1", count=1, interval_ms=1)["account"] == "bob"
    with pytest.raises(ActionError):
        actions.sign_in_failed(STAMP, account="", source="a b\n", count=7, interval_ms=1)
