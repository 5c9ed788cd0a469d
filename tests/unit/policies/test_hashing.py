"""Hashes are over what a data file says, and over the bytes of all else."""

from __future__ import annotations

import hashlib
import json

import pytest

from policies.datafiles import read_yaml
from policies.errors import BundleError
from policies.hashing import hash_file


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "canonical"),
    [
        (
            '{ "b" : [1, 2.50, -0, 1e3],\n "a": {"z": null, "y": true} }',
            '{"a":{"y":true,"z":null},"b":[1,2.50,-0,1e3]}',
        ),
        ('"\\u0041\\/<&>\\u007f"', '"A/<&>\x7f"'),
        ('"\\u2028\\u2029\\u0001\\b\\f\\n\\r\\t\\"\\\\"', '"\\u2028\\u2029\\u0001\\b\\f\\n\\r\\t\\"\\\\"'),
        ('{"é": 1, "e": 2, "😀": 3, "\uffee": 4}', '{"e":2,"é":1,"\uffee":4,"😀":3}'),
        ("[]", "[]"),
    ],
)
def test_json_is_hashed_by_what_it_says(content: str, canonical: str) -> None:
    assert hash_file("data.json", content.encode()) == hash_file("x/.manifest", content.encode()) == sha(canonical)


@pytest.mark.parametrize(
    ("content", "canonical"),
    [
        ("b: 1\na: [x, null, true]\n", '{"a":["x",null,true],"b":1}'),
        ("a: 1.50\nb: 0.0000001\nd: 0.000001\ne: 1.5e-300\n",
         '{"a":1.5,"b":1e-7,"d":0.000001,"e":1.5e-300}'),
        ("", "null"),
        ('{"a": 1.0}', '{"a":1.0}'),
    ],
)  # fmt: skip
def test_yaml_is_hashed_as_the_json_that_it_means(content: str, canonical: str) -> None:
    assert hash_file("deep/data.yaml", content.encode()) == hash_file("data.yml", content.encode()) == sha(canonical)


@pytest.mark.parametrize("path", ["a.rego", "schema.json", "mydata.json", "data.json.rego", ".signatures"])
def test_all_else_is_hashed_byte_for_byte(path: str) -> None:
    assert hash_file(path, b"{ }\xff") == hashlib.sha256(b"{ }\xff").hexdigest()


def test_the_hashes_that_are_taken() -> None:
    assert hash_file("a", b"x", "SHA-512") == hashlib.sha512(b"x").hexdigest()
    assert hash_file("a", b"x", "SHA-384") == hashlib.sha384(b"x").hexdigest()
    for name in ("MD5", "SHA-1", "sha256", "", "shake_128"):
        with pytest.raises(ValueError, match="is not taken"):
            hash_file("a", b"x", name)


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"a": 1, "a": 2}', b"NaN", b"[" * 3_000])
def test_a_data_file_that_cannot_be_read_has_no_hash(content: bytes) -> None:
    with pytest.raises(BundleError):
        hash_file("data.json", content)


@pytest.mark.parametrize("text", ["\x85", "\u2028", "\U0001f600", "/", "\ufeff"])
def test_texts_of_one_hash_are_of_one_value(text: str) -> None:
    """Else a signed file could be changed in what it says: YAML makes of a raw next-line character a blank."""
    raw, escaped = f'{{"a": "x{text}y"}}', json.dumps({"a": f"x{text}y"}).replace("/", "\\/")
    assert raw != escaped
    assert hash_file("data.yaml", raw.encode()) == hash_file("data.yaml", escaped.encode())
    assert read_yaml("data.yaml", raw) == read_yaml("data.yaml", escaped) == {"a": f"x{text}y"}
