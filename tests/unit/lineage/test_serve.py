"""The log's read interface: paths to bytes."""

from __future__ import annotations

from contextlib import closing

import pytest

from lineage.actions import Stamp, prune_log
from lineage.ledger import Ledger, writer_lock
from lineage.proof import Proof
from lineage.record import encode
from lineage.serve import BYTES, TEXT, Answer, is_open, is_pruned, serve
from lineage.settings import Lineage
from tests.support.records import intent
from tests.support.written import extend, written

RECORDS = [intent(number) for number in range(300)]


def test_each_path_gives_what_lies_there() -> None:
    with written(RECORDS) as log:

        def get(path: str) -> Answer | None:
            return serve(log.reader, log.verifier, path)

        assert get("checkpoint") == Answer(log.reader.checkpoint() or b"", TEXT, False)
        assert get("vkey") == Answer(f"{log.verifier}\n".encode(), TEXT, False)
        assert get("tile/0/000") == Answer(log.reader.tile(0, 0) or b"", BYTES, True)
        assert get("tile/0/001.p/44") == Answer(log.reader.tile(0, 1, 44) or b"", BYTES, True)
        assert get("tile/1/000.p/1") == Answer(log.reader.tile(1, 0, 1) or b"", BYTES, True)
        assert get("tile/entries/001.p/44") == Answer(log.reader.entries(1, 44) or b"", BYTES, True)
        answer = get("proof/299")
        assert answer is not None
        assert Proof.parse(answer.body).verify(RECORDS[299], [log.verifier]).size == 300
        assert not answer.final


def test_of_what_was_given_up_the_hashes_are_served_and_the_records_are_not() -> None:
    with written(RECORDS) as log:
        assert not is_pruned(log.reader, "tile/entries/000")
        record = prune_log(Stamp(300, "cli"), log.reader.control(), before=10, by="ann", reason="a test")
        extend(log.data_dir, [encode(record)])
        with writer_lock(log.data_dir), closing(Ledger(log.data_dir, Lineage())) as ledger:
            assert not ledger.prune()
        for path, gone in (("tile/entries/000", True), ("tile/entries/001.p/44", False), ("tile/0/000", False)):
            assert (serve(log.reader, log.verifier, path) is None) == is_pruned(log.reader, path) == gone
        answer = serve(log.reader, log.verifier, "proof/3")
        assert answer is not None
        assert Proof.parse(answer.body).verify(RECORDS[3], [log.verifier]).size == 301


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/checkpoint",
        "checkpoint/",
        "Checkpoint",
        "tile/0/001",
        "tile/0/001.p/45",
        "tile/0/002.p/1",
        "tile/2/000.p/1",
        "tile/entries/001",
        "tile/entries/001.p/0",
        "tile/0/000.p/256",
        "tile/0/../../keys/log.key",
        "proof/",
        "proof/300",
        "proof/-1",
        "proof/01",
        "proof/+1",
        "proof/1 ",
        "proof/٣",
        "proof/" + "9" * 30,
        "../keys/log.key",
        "records/0",
        "vkey\n",
    ],
)
def test_every_other_path_gives_nothing(path: str) -> None:
    with written(RECORDS) as log:
        assert serve(log.reader, log.verifier, path) is None


def test_before_the_first_checkpoint_only_the_key_is_there() -> None:
    with written([]) as log:
        extend(log.data_dir, [intent(1)], checkpoint=False)
        assert serve(log.reader, log.verifier, "vkey") is not None
        assert serve(log.reader, log.verifier, "tile/entries/000.p/1") is None
        assert serve(log.reader, log.verifier, "proof/0") is None


def test_only_checkpoint_and_key_are_open() -> None:
    assert [
        path for path in ("checkpoint", "vkey", "tile/0/000", "tile/entries/000", "proof/0", "") if is_open(path)
    ] == [
        "checkpoint",
        "vkey",
    ]
