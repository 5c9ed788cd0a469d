"""Single facts read straight from a record's bytes, where parsing every record would cost too much.

A record is canonical JSON: no white space, ASCII keys in order, every quote inside a string escaped. So the bytes
`"name":` stand only where a key of that name stands, whatever a caller wrote into a path or a model's name, and the
first one is the record's own as long as no object before it (in the order of keys) has such a key.
"""

from __future__ import annotations

_KIND = b'"kind":"'
_BOOT = b'"boot":"'
_INTENT = b'"intent":'
_AT = b'{"at":'


def kind(record: bytes) -> bytes:
    """The record's kind; empty where it has none."""
    start = record.find(_KIND) + 8
    return record[start : record.find(b'"', start)] if start > 7 else b""


def boot(record: bytes) -> bytes:
    """The life of a process that wrote the record; empty where it has none."""
    start = record.find(_BOOT) + 8
    return record[start : record.find(b'"', start)] if start > 7 else b""


def at(record: bytes) -> int:
    """When the record was made, in ms since the epoch; 0 where it does not begin with that."""
    return int(record[6 : record.find(b",", 6)]) if record.startswith(_AT) else 0


def intent(record: bytes) -> int:
    """The log index of the intent that an outcome belongs to; -1 where it names none."""
    start = record.find(_INTENT) + 9
    return int(record[start : record.find(b",", start)]) if start > 8 else -1
