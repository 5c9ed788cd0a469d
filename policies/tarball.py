"""A bundle as OPA's `opa build` writes it, a gzip-compressed tar: read into memory strictly, never onto a disk.

Python's own reader ends silently at a damaged header, which would serve half a policy, follows chains of headers
into recursion and takes negative sizes. This one knows files and folders with their names, as ustar, pax and
GNU tar write them (POSIX.1-2017 pax, section "ustar Interchange Format"), and refuses all else, each size bounded.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, NoReturn

from policies.errors import BundleError, Problem

MAX_FILES: Final = 1_000
MAX_FILE: Final = 1_048_576
MAX_BUNDLE: Final = 16_777_216
MAX_ENTRIES: Final = 4 * MAX_FILES
"""Most headers in an archive: files, folders and the headers that carry long names."""
MAX_PATH: Final = 1_024
MAX_HEADER: Final = 65_536
"""Most bytes of a header that says something of the next one."""

_BLOCK: Final = 512
_MAX_TAR: Final = MAX_BUNDLE + MAX_ENTRIES * 2 * _BLOCK
_OCTAL: Final = re.compile(rb" *([0-7]{1,12})[ \0]*")
_RECORD: Final = re.compile(rb"([1-9][0-9]{0,8}) ")
_FILE: Final = (b"0", b"\0")
_FOLDER: Final = b"5"
_PAX: Final = b"x"
_PAX_GLOBAL: Final = b"g"
_LONG_NAME: Final = b"L"
_ABOUT_NEXT: Final = (_PAX, _PAX_GLOBAL, _LONG_NAME)


class _Entry(NamedTuple):
    kind: bytes
    name: bytes
    content: bytes


def unpack(archive: bytes) -> dict[str, bytes]:
    """The files of a .tar.gz by path, `/` between parts, none in front; BundleError where anything is not plain."""
    files: dict[str, bytes] = {}
    total = 0
    for entry in _entries(_decompressed(archive)):
        path = _path(entry.name, folder=entry.kind == _FOLDER)
        if entry.kind == _FOLDER:
            continue
        if path in files:
            _refuse(path, "the archive has this file twice", "build it anew")
        files[path] = entry.content
        total += len(entry.content)
        if len(files) > MAX_FILES or total > MAX_BUNDLE:
            _refuse(".", f"more than {MAX_FILES} files or {MAX_BUNDLE} bytes", "split the bundle")
    for path in files:
        if any(path[:end] in files for end in range(len(path)) if path[end] == "/"):
            _refuse(path, "the archive has a file where this path needs a folder", "build it anew")
    return files


def pack(files: Mapping[str, bytes]) -> bytes:
    """A .tar.gz of these files, the same bytes for the same files; names begin with `/`, as those of `opa build` do."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(f"/{path}")
            entry.size = len(files[path])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(files[path]))
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(target.getvalue()) + compressor.flush()


def _decompressed(archive: bytes) -> bytes:
    if len(archive) > MAX_BUNDLE:
        _refuse(".", f"the archive is longer than {MAX_BUNDLE} bytes", "split the bundle")
    stream = zlib.decompressobj(wbits=31)
    try:
        tar = stream.decompress(archive, _MAX_TAR + 1)
    except zlib.error:
        _refuse(".", "this is no gzip-compressed archive", "build it with `opa build`, or with `tar -cz`")
    if len(tar) > _MAX_TAR:
        _refuse(".", f"the archive unpacks to more than {_MAX_TAR} bytes", "split the bundle")
    if not stream.eof:
        _refuse(".", "the archive is cut off", "fetch or build it anew")
    if stream.unused_data:
        _refuse(".", "something follows the archive's end", "build it anew")
    return tar


def _entries(tar: bytes) -> Iterator[_Entry]:
    """Files and folders in order, with their long names put in place."""
    at = count = 0
    name = b""
    size: int | None = None
    while True:
        header = tar[at : at + _BLOCK]
        if not any(header):
            break
        count += 1
        if count > MAX_ENTRIES:
            _refuse(".", f"more than {MAX_ENTRIES} entries", "split the bundle")
        kind = header[156:157]
        given = _size(header)
        length = given if size is None or kind not in _FILE else size
        at += _BLOCK
        content = tar[at : at + length]
        if kind in _ABOUT_NEXT and length > MAX_HEADER:
            _refuse(".", f"a header of the archive is longer than {MAX_HEADER} bytes", "build it anew")
        if length > MAX_FILE:
            _refuse(_shown(name or _name(header)), f"the file is larger than {MAX_FILE} bytes", "split it")
        if len(content) < length:
            _refuse(".", "the archive is cut off", "fetch or build it anew")
        at += -(-length // _BLOCK) * _BLOCK
        if kind in {_PAX, _PAX_GLOBAL}:
            found = _pax(content)
            if kind == _PAX_GLOBAL and found.keys() & {b"path", b"size"}:
                _refuse(".", "a header names all files at once", "build it anew")
            name = found.get(b"path", name)
            size = _decimal(found[b"size"]) if b"size" in found else size
        elif kind == _LONG_NAME:
            name = content.rstrip(b"\0")
        elif kind in _FILE or (kind == _FOLDER and not length):
            yield _Entry(kind, name or _name(header), content)
            name, size = b"", None
        else:
            _refuse(_shown(name or _name(header)), "is neither a file nor a folder", "put in the file itself, no link")
    if len(tar) - at < 2 * _BLOCK or tar.count(0, at) < len(tar) - at or name or size is not None:
        _refuse(".", "the archive does not end as it should", "fetch or build it anew")


def _size(header: bytes) -> int:
    """The entry's size, once the header's checksum is right."""
    told, size = _OCTAL.fullmatch(header[148:156]), _OCTAL.fullmatch(header[124:136])
    if told is None or size is None or len(header) != _BLOCK:
        _refuse(".", "a header of the archive is damaged", "fetch or build it anew")
    if int(told[1], 8) != sum(header[:148]) + sum(header[156:]) + 8 * 0x20:
        _refuse(".", "a header of the archive is damaged", "fetch or build it anew")
    return int(size[1], 8)


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _pax(content: bytes) -> dict[bytes, bytes]:
    """The records of a pax header, `LENGTH KEY=VALUE` and a line end each."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        match = _RECORD.match(content, at)
        end = at + int(match[1]) if match else 0
        record = content[match.end() : end] if match else b""
        key, equals, value = record.partition(b"=")
        if not key or not equals or not value.endswith(b"\n") or end > len(content) or key in found:
            _refuse(".", "a header of the archive is damaged", "fetch or build it anew")
        if key.startswith(b"GNU.sparse"):
            _refuse(".", "the archive has a file with holes", "build it without --sparse")
        found[key] = value[:-1]
        at = end
    return found


def _decimal(text: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,12}", text):
        _refuse(".", "a header of the archive is damaged", "fetch or build it anew")
    return int(text)


def _path(name: bytes, *, folder: bool) -> str:
    """The path in a name, without the `/` or `./` that may stand in front of it."""
    if len(name) > MAX_PATH:
        _refuse(_shown(name), f"the name is longer than {MAX_PATH} bytes", "name the file otherwise")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        _refuse(_shown(name), "the name is not UTF-8", "name the file otherwise")
    text = text.removeprefix("/") if text.startswith("/") else text.removeprefix("./")
    if folder:
        text = text.removesuffix("/")
        if text in {"", "."}:
            return ""
    if not text.isprintable() or "\\" in text or not {"", ".", ".."}.isdisjoint(text.split("/")):
        _refuse(_shown(name), "the name is no path inside the bundle", "name the file otherwise")
    return text


def _shown(name: bytes) -> str:
    return ascii(name.decode(errors="replace"))[1:-1][:200]


def _refuse(file: str, message: str, remedy: str) -> NoReturn:
    raise BundleError([Problem(file, 0, 0, "archive", message, remedy)])
