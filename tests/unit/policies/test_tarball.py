"""An archive gives the very files that are in it, or is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib

import pytest

from policies import tarball
from policies.errors import BundleError
from policies.tarball import MAX_FILE, MAX_PATH, pack, unpack
from tests.support.bundles import archive_of

FORMS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}
FILES = {"a.rego": b"package a\n", "data.json": b"{}", "deep/down/b.rego": b"package b\n" * 100, "empty": b""}


def refused(archive: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        unpack(archive)
    (problem,) = caught.value.problems
    assert problem.code == "archive"
    assert problem.remedy
    return str(problem)


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def raw(*, blocks: bytes) -> bytes:
    return gzip.compress(blocks)


def header(name: str, content: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    """A block for a file, with fields written over, and a checksum that is right."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:512])
    for place, value in fields.items():
        at = {"size": 124, "magic": 257, "prefix": 345}[place]
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content + b"\0" * (-len(content) % 512)


END = bytes(1024)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("front", ["", "/", "./"])
def test_files_come_out_as_they_went_in(form: int, front: str) -> None:
    entries = [(front + path, content) for path, content in FILES.items()]
    assert (
        unpack(archive_of(entry("./", tarfile.DIRTYPE), entry("deep", tarfile.DIRTYPE), *entries, form=form)) == FILES
    )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_long_names_are_whole(form: int) -> None:
    path = "/".join(["folder" * 8] * 4) + "/policy.rego"
    assert unpack(archive_of((path, b"x"), ("b", b"y"), form=form)) == {path: b"x", "b": b"y"}


def test_names_beyond_ascii_are_read() -> None:
    assert unpack(archive_of(("grüße/日本.rego", b"x"))) == {"grüße/日本.rego": b"x"}


def test_what_is_packed_is_unpacked_and_the_same_bytes_each_time() -> None:
    archive = pack(FILES)
    assert unpack(archive) == FILES
    assert pack(dict(reversed(FILES.items()))) == archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        assert read.getnames() == [f"/{path}" for path in sorted(FILES)]


@pytest.mark.parametrize(
    "name",
    ["../a.rego", "a/../../b.rego", "/../etc/passwd", "//etc/passwd", "a//b", "a/./b", "././a", "..", ".", "a/",
     "a\\b.rego", "..\\a", "a\nb", "a\u202eb", "\ufeffa", "/"],
)  # fmt: skip
def test_a_name_that_is_no_path_inside_is_refused(name: str) -> None:
    assert "the name is no path inside the bundle" in refused(raw(blocks=_named(name) + END))


def _named(name: str) -> bytes:
    block = bytearray(header("x"))
    block[:1] = b"\0"
    block[: len(name.encode())] = name.encode()
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"7", b"S", b"K", b"?"],
)
def test_anything_but_files_and_folders_is_refused(kind: bytes) -> None:
    assert "is neither a file nor a folder" in refused(raw(blocks=header("link.rego", kind=kind) + END))


def test_a_link_is_refused_and_named() -> None:
    assert refused(archive_of(("a.rego", b"x"), entry("b.rego", tarfile.SYMTYPE, "/etc/passwd"))).startswith("b.rego")


def test_a_file_that_is_there_twice_is_refused() -> None:
    assert "a.rego: the archive has this file twice" in refused(archive_of(("a.rego", b"x"), ("/a.rego", b"y")))


def test_a_file_where_a_folder_must_be_is_refused() -> None:
    assert "needs a folder" in refused(archive_of(("a", b"x"), ("a/b.rego", b"y")))


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"the file is larger than {MAX_FILE} bytes" in refused(archive_of(("a", bytes(MAX_FILE + 1))))
    assert f"longer than {MAX_PATH} bytes" in refused(archive_of(("a" * (MAX_PATH + 1), b"")))
    monkeypatch.setattr(tarball, "MAX_FILES", 3)
    assert len(unpack(archive_of(*((str(n), b"") for n in range(3))))) == 3
    assert "more than 3 files" in refused(archive_of(*((str(n), b"") for n in range(4))))
    monkeypatch.setattr(tarball, "MAX_ENTRIES", 5)
    assert "more than 5 entries" in refused(archive_of(*(entry(str(n), tarfile.DIRTYPE) for n in range(6))))
    monkeypatch.setattr(tarball, "MAX_BUNDLE", 10_000)
    assert "longer than 10000 bytes" in refused(bytes(10_001))
    assert "or 10000 bytes" in refused(archive_of(("a", bytes(6_000)), ("b", bytes(6_000))))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zlib.compressobj(9, wbits=31)
    archive = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
    assert len(archive) < 1 << 20
    assert "unpacks to more than" in refused(archive)


def test_a_pax_header_that_is_vast_or_deep_costs_nothing() -> None:
    names = b"".join(b"%d %s=x\n" % (len(key) + 5, key) for key in (b"%06d" % n for n in range(90_000)))
    assert "a header of the archive is longer than" in refused(raw(blocks=header("pax", names, b"x") + END))
    deep = "d/" * 500 + "e"
    assert unpack(archive_of((deep, b"x"))) == {deep: b"x"}


@pytest.mark.parametrize(
    "size", [b"77777777777\0", b"-0000000001\0", b"\x80" + bytes(10) + b"\1", b"\xff" * 12, b"0x1         "]
)
def test_a_size_that_lies_is_refused(size: bytes) -> None:
    refused(raw(blocks=header("a", b"x", size=size) + END))


@pytest.mark.parametrize(
    "record",
    [b"9999 path=x\n", b"0 path=x\n", b"8 path=x", b"path=x\n", b"10 path=xy", b"5 =x\n\0", b"11 path=xy\0",
     b"7 path\n", b"9 path=x\n9 path=y\n", b"11 size=-1\n", b"13 size=+0x1\n"],
)  # fmt: skip
def test_a_broken_pax_record_is_refused(record: bytes) -> None:
    assert "header" in refused(raw(blocks=header("pax", record, b"x") + header("a") + END))


def test_a_pax_size_and_path_count_for_the_next_file_alone() -> None:
    blocks = (
        header("pax", b"9 path=x\n10 size=3\n", b"x") + header("a", b"abc", size=b"00000000000\0") + header("b", b"z")
    )
    assert unpack(raw(blocks=blocks + END)) == {"x": b"abc", "b": b"z"}


def test_headers_for_all_files_may_comment_but_not_name() -> None:
    assert unpack(raw(blocks=header("g", b"13 comment=x\n", b"g") + header("a", b"x") + END)) == {"a": b"x"}
    assert "names all files at once" in refused(raw(blocks=header("g", b"9 path=x\n", b"g") + header("a") + END))
    sparse = header("x", b"22 GNU.sparse.major=1\n", b"x") + header("a")
    assert "holes" in refused(raw(blocks=sparse + END))


@pytest.mark.parametrize("kept", [511, 512, 600, 1024, 1536, 2047])
def test_an_archive_that_is_cut_is_refused_though_the_gzip_is_whole(kept: int) -> None:
    whole = header("a", b"x") + END
    assert len(whole) == 2048
    refused(raw(blocks=whole[:kept]))
    assert unpack(raw(blocks=whole)) == {"a": b"x"}


def test_a_name_without_its_file_is_refused() -> None:
    assert "does not end as it should" in refused(raw(blocks=header("pax", b"9 path=x\n", b"x") + END))


def test_what_follows_the_end_is_refused() -> None:
    whole = header("a", b"x") + END
    assert "does not end as it should" in refused(raw(blocks=whole + header("b", b"y") + END))
    assert "something follows" in refused(raw(blocks=whole) + raw(blocks=whole))
    assert unpack(raw(blocks=whole + bytes(8192))) == {"a": b"x"}


def test_damage_is_found() -> None:
    whole = pack(FILES)
    assert "cut off" in refused(whole[:-9])
    assert "no gzip-compressed archive" in refused(whole[:-5] + b"\0" + whole[-4:])
    assert "no gzip-compressed archive" in refused(b"PK\3\4")
    assert "cut off" in refused(b"")
    block = bytearray(header("a", b"x") + END)
    block[0] ^= 1
    assert "damaged" in refused(raw(blocks=bytes(block)))
