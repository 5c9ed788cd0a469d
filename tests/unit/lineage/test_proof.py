"""Proofs as files: C2SP tlog-proof."""

from __future__ import annotations

import base64

import pytest

from lineage.errors import RecordError, VerificationError
from lineage.note import Signer
from lineage.proof import MAX_HASHES, Proof, prove
from tests.support.records import intent
from tests.support.written import extend, written

NODE = bytes(range(32))
LINE = base64.b64encode(NODE).decode()


def test_a_proof_is_written_line_by_line() -> None:
    proof = Proof(5, (NODE, NODE), b"test checkpoint\n")
    assert proof.dump() == f"c2sp.org/tlog-proof@v1\nindex 5\n{LINE}\n{LINE}\n\ntest checkpoint\n".encode()
    assert Proof.parse(proof.dump()) == proof


def test_extra_data_stands_before_the_index() -> None:
    proof = Proof(10, (NODE,), b"checkpoint\n\nsignatures\n", b"extra")
    assert proof.dump().startswith(b"c2sp.org/tlog-proof@v1\nextra ZXh0cmE=\nindex 10\n")
    assert Proof.parse(proof.dump()) == proof


def test_a_log_of_one_record_needs_no_hashes() -> None:
    proof = Proof(0, (), b"checkpoint\n")
    assert proof.dump() == b"c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint\n"
    assert Proof.parse(proof.dump()) == proof


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a proof",
        b"c2sp.org/tlog-proof@v1\n",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex x\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex -1\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex " + b"9" * 20 + b"\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nextra !!\nindex 0\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nextra ZXh0cmE=\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + LINE[:-1].encode() + b"\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + (LINE.encode() + b"\n") * (MAX_HASHES + 1) + b"\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex ٣\n\ncheckpoint\n".encode(),
        b"c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\ncheckpoint\n",
    ],
)
def test_a_malformed_proof_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        Proof.parse(data)


@pytest.mark.parametrize("size", [1, 2, 300])
def test_a_proof_shows_offline_that_a_record_is_in_the_log(size: int) -> None:
    records = [intent(number) for number in range(size)]
    with written(records) as log:
        for index in {0, size // 2, size - 1}:
            proof = Proof.parse(prove(log.reader, index).dump())
            assert proof.verify(records[index], [log.verifier]).size == size


def test_a_proof_fails_for_everything_but_its_own_record_place_and_log() -> None:
    records = [intent(number) for number in range(10)]
    with written(records) as log:
        proof = prove(log.reader, 3)
        with pytest.raises(VerificationError):
            proof.verify(records[4], [log.verifier])
        with pytest.raises(VerificationError):
            Proof(4, proof.path, proof.checkpoint).verify(records[3], [log.verifier])
        with pytest.raises(VerificationError):
            Proof(3, proof.path[:-1], proof.checkpoint).verify(records[3], [log.verifier])
        with pytest.raises(VerificationError, match="known key"):
            proof.verify(records[3], [Signer.generate("written.example/log").verifier])
        with pytest.raises(VerificationError):
            Proof(3, proof.path, proof.checkpoint.replace(b"\n10\n", b"\n11\n")).verify(records[3], [log.verifier])


def test_a_record_that_no_checkpoint_covers_has_no_proof_yet() -> None:
    with written([intent(1)]) as log:
        extend(log.data_dir, [intent(2)], checkpoint=False)
        for index in (1, 2, -1):
            with pytest.raises(RecordError, match="no checkpoint covers"):
                prove(log.reader, index)
