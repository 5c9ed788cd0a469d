"""Signed notes and checkpoints, against the example of Go's own implementation of the format."""

from __future__ import annotations

import base64

import pytest

from lineage.errors import VerificationError
from lineage.note import (
    MAX_SIGNATURES,
    Checkpoint,
    Signer,
    Verifier,
    key_id,
    open_checkpoint,
    open_note,
    valid_name,
)

SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = TEXT + f"\n— PeterNeumann {SIGNATURE}\n".encode()


def test_the_known_key_makes_the_known_note() -> None:
    signer = Signer.parse(SKEY)
    assert str(signer.verifier) == VKEY
    assert signer.sign(TEXT) == NOTE
    assert signer.dump() == SKEY + "\n"


def test_the_known_note_opens_with_the_known_key() -> None:
    verifier = Verifier.parse(VKEY)
    assert open_note(NOTE, [verifier]) == (TEXT, [verifier])
    assert verifier.id.hex() == "c74f20a3"


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10",
        "PeterNeumann+c74f20a3+!!!!",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_a_malformed_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(VerificationError):
        Verifier.parse(vkey)


@pytest.mark.parametrize(
    "text",
    ["", "PRIVATE+KEY+", SKEY[:-4], SKEY.replace("c74f20a3", "c74f20a4"), SKEY.replace("+AY", "+BY"), VKEY],
)
def test_a_malformed_signing_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(VerificationError) as caught:
        Signer.parse(text)
    assert "AYEKFALV" not in str(caught.value)


@pytest.mark.parametrize("seed", [b"", bytes(32), b"\x01" * 31, b"\x01" * 33])
def test_an_empty_or_short_seed_makes_no_key(seed: bytes) -> None:
    with pytest.raises(VerificationError):
        Signer("log", seed)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\tb", "a\u00a0b", "a\u2028b", "a\x7fb"])
def test_a_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    assert not valid_name(name)
    with pytest.raises(VerificationError):
        Signer(name, b"\x01" * 32)


def test_two_generated_keys_differ() -> None:
    assert str(Signer.generate("log").verifier) != str(Signer.generate("log").verifier)


@pytest.mark.parametrize("position", [0, 10, len(TEXT) - 2, len(TEXT) + 30, len(NOTE) - 10])
def test_a_changed_byte_anywhere_is_noticed(position: int) -> None:
    changed = bytearray(NOTE)
    changed[position] ^= 1
    with pytest.raises(VerificationError):
        open_note(bytes(changed), [Verifier.parse(VKEY)])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        TEXT,
        TEXT + b"\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace("— ".encode(), b"- "),
        NOTE.replace(b"PeterNeumann x", b"PeterNeumann  x"),
        TEXT.replace(b"If", b"\x00f") + NOTE[len(TEXT) :],
        NOTE[: len(TEXT)] + b"\n" + "— PeterNeumann AAAA\n".encode(),
        NOTE.replace(b"x08go", b"x08g\xff"),
        b"x" * 1_000_001,
    ],
)
def test_a_malformed_note_is_refused(note: bytes) -> None:
    with pytest.raises(VerificationError):
        open_note(note, [Verifier.parse(VKEY)])


def test_signatures_of_unknown_keys_are_ignored_but_do_not_count() -> None:
    other = Signer.generate("witness.example")
    known = Verifier.parse(VKEY)
    both = NOTE + other.sign(TEXT)[len(TEXT) + 1 :]
    assert open_note(both, [known]) == (TEXT, [known])
    assert open_note(both, [known, other.verifier]) == (TEXT, [known, other.verifier])
    with pytest.raises(VerificationError, match="known key"):
        open_note(both, [Signer.generate("stranger").verifier])


def test_a_bad_signature_of_a_known_key_is_refused_beside_a_good_one() -> None:
    other = Signer.generate("witness.example")
    forged = NOTE + other.sign(b"another text\n")[len(b"another text\n") + 1 :]
    with pytest.raises(VerificationError, match=r"witness\.example"):
        open_note(forged, [Verifier.parse(VKEY), other.verifier])


def test_a_key_of_the_same_name_and_another_id_is_unknown() -> None:
    twin = Signer.generate("PeterNeumann")
    with pytest.raises(VerificationError, match="known key"):
        open_note(NOTE, [twin.verifier])


def test_the_number_of_signatures_is_bounded() -> None:
    line = NOTE[len(TEXT) + 1 :]
    with pytest.raises(VerificationError, match=str(MAX_SIGNATURES)):
        open_note(NOTE + line * MAX_SIGNATURES, [Verifier.parse(VKEY)])


def test_only_a_text_that_ends_in_a_newline_is_signed() -> None:
    with pytest.raises(VerificationError):
        Signer.generate("log").sign(b"no newline")


def test_the_key_id_depends_on_the_name() -> None:
    assert key_id("a", b"k" * 32) != key_id("b", b"k" * 32)


ROOT = bytes(range(32))


def test_a_checkpoint_has_three_lines_and_comes_back() -> None:
    checkpoint = Checkpoint("example.com/log", 42, ROOT)
    assert checkpoint.text() == b"example.com/log\n42\n" + base64.b64encode(ROOT) + b"\n"
    assert Checkpoint.parse(checkpoint.text()) == checkpoint
    assert Checkpoint.parse(checkpoint.text() + b"an extension\n") == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"origin\n1\n",
        b"origin\n01\n" + base64.b64encode(ROOT) + b"\n",
        b"origin\n-1\n" + base64.b64encode(ROOT) + b"\n",
        b"origin\n+1\n" + base64.b64encode(ROOT) + b"\n",
        "origin\n١\n".encode() + base64.b64encode(ROOT) + b"\n",
        b"origin\n" + b"9" * 20 + b"\n" + base64.b64encode(ROOT) + b"\n",
        b"origin\n1\n" + base64.b64encode(ROOT[:31]) + b"\n",
        b"origin\n1\n" + base64.b64encode(ROOT)[:-1] + b"\n",
        b"origin\n1\n" + base64.b64encode(ROOT),
        b"\n1\n" + base64.b64encode(ROOT) + b"\n",
        b"origin\n1\n" + base64.b64encode(ROOT) + b"\n\nmore\n",
        b"\xff\n1\n" + base64.b64encode(ROOT) + b"\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: bytes) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse(text)


def test_a_checkpoint_must_be_signed_by_the_log_that_it_names() -> None:
    log, witness = Signer.generate("example.com/log"), Signer.generate("witness.example")
    checkpoint = Checkpoint("example.com/log", 1, ROOT)
    keys = [log.verifier, witness.verifier]
    assert open_checkpoint(log.sign(checkpoint.text()), keys) == checkpoint
    with pytest.raises(VerificationError, match="log that it names"):
        open_checkpoint(witness.sign(checkpoint.text()), keys)
