"""Policy inputs beside the log: each is sealed and sent once, and named by every record that has it."""

from __future__ import annotations

import pytest

from gateway import kept as module
from gateway.kept import LARGEST, LONGEST_SHARED, MOST_SHARED, NOTHING, SHARED_SECONDS, Kept, KeptInputs
from gateway.secrets import Secrets
from lineage.side import TenantKey, blob_digest, unseal

ACME = Secrets("acme", TenantKey.derive(b"a" * 32))
GLOBEX = Secrets("globex", TenantKey.derive(b"g" * 32))


class Writer:
    """How often the log writer was connected to."""

    generation = 1


def inputs(writer: type[Writer] = Writer) -> KeptInputs:
    return KeptInputs(lambda: writer.generation)


def sent(keeper: KeptInputs, secrets: Secrets, document: bytes) -> Kept:
    """What a call that the log took had of its input."""
    found = keeper.keep(secrets, document)
    keeper.sent(found)
    return found


def test_the_first_record_sends_the_blob_and_the_next_ones_name_it() -> None:
    keeper = inputs()
    first, second = sent(keeper, ACME, b"{}"), keeper.keep(ACME, b"{}")
    assert first.blob is not None
    assert first.digest == second.digest == blob_digest(first.blob)
    assert second.blob is None
    assert unseal(TenantKey.derive(b"a" * 32), "acme", first.blob) == b"{}"


def test_tenants_and_inputs_share_nothing() -> None:
    keeper = inputs()
    found = [sent(keeper, secrets, document) for secrets in (ACME, GLOBEX) for document in (b"{}", b"[]")]
    assert len({each.digest for each in found}) == 4
    assert all(each.blob is not None for each in found)


def test_a_new_connection_to_the_writer_begins_anew() -> None:
    """The writer that is there now may not have what the one before was sent."""

    class Restarted(Writer):
        """A writer of this test."""

    keeper = inputs(Restarted)
    before = sent(keeper, ACME, b"{}")
    Restarted.generation += 1
    after = keeper.keep(ACME, b"{}")
    assert after.blob is not None
    assert after.digest != before.digest


def test_a_record_that_was_not_taken_lets_all_be_sent_again() -> None:
    keeper = inputs()
    sent(keeper, ACME, b"{}")
    keeper.forget()
    assert keeper.keep(ACME, b"{}").blob is not None


def test_after_a_while_the_blob_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARED_SECONDS", -1.0)
    keeper = inputs()
    assert [sent(keeper, ACME, b"{}").blob is not None for _ in range(2)] == [True, True]


def test_large_inputs_are_each_sent_and_too_large_ones_not_kept() -> None:
    keeper = inputs()
    large = b"x" * (LONGEST_SHARED + 1)
    assert all(sent(keeper, ACME, large).blob is not None for _ in range(2))
    assert keeper.keep(ACME, b"x" * (LARGEST + 1)) == NOTHING


def test_what_is_remembered_is_bounded() -> None:
    keeper = inputs()
    for number in range(3 * MOST_SHARED):
        sent(keeper, ACME, b"%d" % number)
    assert len(keeper._sent) <= MOST_SHARED


def test_a_blob_that_was_never_sent_is_named_by_nobody() -> None:
    """A call may end between its decision and its intent: then its blob goes nowhere."""
    keeper = inputs()
    lost = keeper.keep(ACME, b"{}")
    found = keeper.keep(ACME, b"{}")
    assert found.blob is not None and found.digest != lost.digest


def test_a_blob_that_an_earlier_connection_took_is_not_named_on_the_next() -> None:
    class Restarted(Writer):
        """A writer of this test."""

    keeper = inputs(Restarted)
    before = keeper.keep(ACME, b"{}")
    Restarted.generation += 1
    keeper.sent(before)
    assert keeper.keep(ACME, b"{}").blob is not None


def test_an_input_whose_time_is_over_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is content, and its tenant may be erased meanwhile."""
    keeper, now = inputs(), 1_000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    sent(keeper, ACME, b"old")
    now += SHARED_SECONDS / 2
    sent(keeper, ACME, b"new")
    keeper.sweep()
    assert [document for _, document in keeper._sent] == [b"old", b"new"]
    now += SHARED_SECONDS / 2
    keeper.sweep()
    assert [document for _, document in keeper._sent] == [b"new"]
