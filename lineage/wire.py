"""The frames between the log writer and its clients, without I/O.

A frame is a big-endian 32-bit length of its payload, one byte of type, and the payload. Client to writer:

    HELLO    version u16, flags u8                first on a connection
    APPEND   record                               the n-th append of a connection has the sequence number n, from 0
    APPEND_SIDE  record length u32, record, blob

Writer to client:

    WELCOME  size u64, control state (JSON)       answer to HELLO
    CONTROL  (index u64, length u32, record)*     the control records of one commit; before its ACKs
    STATE    control state (JSON)                 the same for a commit before which others had changed the state
    ACK      sequence u64, count u32, index u64   that many appends have the indexes from `index` on, durably
    REFUSED  sequence u64, count u32, reason      none of these appends is in the log
    SIZE     size u64                             the log has grown
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from lineage.errors import LineageError
from lineage.record import MAX_BYTES

VERSION: Final = 1
WANTS_CONTROL: Final = 1
WANTS_SIZE: Final = 2

HELLO: Final = 1
APPEND: Final = 2
APPEND_SIDE: Final = 3
WELCOME: Final = 16
CONTROL: Final = 17
ACK: Final = 18
REFUSED: Final = 19
SIZE: Final = 20
STATE: Final = 21

MAX_SIDE: Final = 4_194_304
"""Largest side blob, bytes."""
MAX_TO_WRITER: Final = 4 + MAX_BYTES + MAX_SIDE
MAX_TO_CLIENT: Final = 64 * 1_048_576

_HEAD: Final = struct.Struct("!IB")
_HELLO: Final = struct.Struct("!HB")
_ACK: Final = struct.Struct("!IBQIQ")
_REFUSED: Final = struct.Struct("!QI")
_ENTRY: Final = struct.Struct("!QI")
_U64: Final = struct.Struct("!Q")
_U32: Final = struct.Struct("!I")


class WireError(LineageError):
    """The other side does not keep to the protocol; the connection has to be closed."""


class Decoder:
    """Cuts a stream of bytes into frames, whatever pieces it arrives in. Holds at most one frame and one piece."""

    __slots__ = ("_limit", "_need", "_rest")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._need = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames, as (type, payload), that are complete now. WireError when one is over the limit."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        frames = []
        position, end, limit = 0, len(data), self._limit
        unpack = _HEAD.unpack_from
        while end - position >= 5:
            length, kind = unpack(data, position)
            if length > limit:
                raise WireError(f"a frame of {length} bytes is over the limit of {limit}")
            start = position + 5
            if end - start < length:
                self._need = length + 5
                break
            position = start + length
            frames.append((kind, data[start:position]))
        else:
            self._need = 5
        if position < end:
            self._rest += data[position:] if position else data
        return frames


def frame(kind: int, payload: bytes) -> bytes:
    """Return a frame."""
    return _HEAD.pack(len(payload), kind) + payload


def hello(flags: int) -> bytes:
    """Return the frame that opens a connection; `flags` says what the client wants to be told."""
    return frame(HELLO, _HELLO.pack(VERSION, flags))


def parse_hello(payload: bytes) -> int:
    """Return the flags."""
    if len(payload) != _HELLO.size:
        raise WireError("the first frame is malformed")
    version, flags = _HELLO.unpack(payload)
    if version != VERSION:
        raise WireError(
            f"the client speaks version {version} of the protocol, the writer {VERSION}: restart the older one"
        )
    return int(flags)


def append(record: bytes, side: bytes | None) -> bytes:
    """Return the frame that asks for a record to be appended, with the blob to keep beside it."""
    if side is None:
        return _HEAD.pack(len(record), APPEND) + record
    return b"".join((_HEAD.pack(4 + len(record) + len(side), APPEND_SIDE), _U32.pack(len(record)), record, side))


def parse_append(kind: int, payload: bytes) -> tuple[bytes, bytes | None]:
    """Return the record and the side blob of an APPEND or APPEND_SIDE frame."""
    if kind == APPEND:
        record, side = payload, None
    elif kind == APPEND_SIDE and len(payload) >= 4:
        end = 4 + _U32.unpack_from(payload)[0]
        record, side = payload[4:end], payload[end:]
        if end > len(payload):
            raise WireError("an append is cut")
    else:
        raise WireError("a frame of an unknown type")
    if not 0 < len(record) <= MAX_BYTES:
        raise WireError(f"a record has 1 to {MAX_BYTES} bytes")
    return record, side


def welcome(size: int, state: bytes) -> bytes:
    """Return the answer to a client's first frame."""
    return frame(WELCOME, _U64.pack(size) + state)


def parse_welcome(payload: bytes) -> tuple[int, bytes]:
    """Return the log's size and the control state."""
    if len(payload) < 8:
        raise WireError("the welcome is cut")
    return _U64.unpack_from(payload)[0], payload[8:]


def control(entries: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the frame with the control records of one commit."""
    return frame(CONTROL, b"".join([_ENTRY.pack(index, len(record)) + record for index, record in entries]))


def state(dump: bytes) -> bytes:
    """Return the frame with the whole control state."""
    return frame(STATE, dump)


def parse_control(payload: bytes) -> list[tuple[int, bytes]]:
    """Return the control records with their indexes."""
    entries = []
    position = 0
    while position < len(payload):
        if len(payload) - position < _ENTRY.size:
            raise WireError("a control frame is cut")
        index, length = _ENTRY.unpack_from(payload, position)
        start = position + _ENTRY.size
        position = start + length
        if position > len(payload):
            raise WireError("a control frame is cut")
        entries.append((index, payload[start:position]))
    return entries


def ack(sequence: int, count: int, index: int) -> bytes:
    """Return the acknowledgement of `count` appends."""
    return _ACK.pack(20, ACK, sequence, count, index)


def parse_ack(payload: bytes) -> tuple[int, int, int]:
    """Return the first sequence number, the count and the first index."""
    if len(payload) != 20:
        raise WireError("an acknowledgement is malformed")
    sequence, count = _REFUSED.unpack_from(payload)
    return sequence, count, _U64.unpack_from(payload, 12)[0]


def refused(sequence: int, count: int, reason: str) -> bytes:
    """Return the refusal of `count` appends."""
    return frame(REFUSED, _REFUSED.pack(sequence, count) + reason.encode()[:1_000])


def parse_refused(payload: bytes) -> tuple[int, int, str]:
    """Return the first sequence number, the count and the reason."""
    if len(payload) < _REFUSED.size:
        raise WireError("a refusal is malformed")
    sequence, count = _REFUSED.unpack_from(payload)
    return sequence, count, payload[_REFUSED.size :].decode(errors="replace")


def size(value: int) -> bytes:
    """Return the note that the log has grown."""
    return frame(SIZE, _U64.pack(value))


def parse_size(payload: bytes) -> int:
    """Return the log's size."""
    if len(payload) != 8:
        raise WireError("a size is malformed")
    return int(_U64.unpack(payload)[0])
