"""Whatever bytes come as an archive, they are files within the limits or a BundleError; what OPA reads comes out."""

from __future__ import annotations

import gzip
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from policies.bundle import Bundle, bundle_of_archive
from policies.errors import BundleError
from policies.tarball import MAX_FILE, pack, unpack
from tests.support.bundles import archive_of

PART = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=["C", "Z"]), min_size=1, max_size=40
)
PATHS = st.lists(PART.filter(lambda part: part not in {".", ".."}), min_size=1, max_size=4).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=1500), max_size=6).filter(
    lambda files: not any(other.startswith(f"{path}/") for path in files for other in files)
)
FORMS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def read(archive: bytes) -> dict[str, bytes] | None:
    try:
        return unpack(archive)
    except BundleError:
        return None


@given(FILES)
def test_packed_files_are_unpacked(files: dict[str, bytes]) -> None:
    assert unpack(pack(files)) == files


@given(FILES, FORMS)
def test_files_of_another_writer_are_unpacked(files: dict[str, bytes], form: int) -> None:
    assert unpack(archive_of(*files.items(), form=form)) == files


@given(st.binary(max_size=3000))
def test_any_bytes_are_a_bundle_or_an_error(content: bytes) -> None:
    for archive in (content, gzip.compress(content, 1)):
        try:
            assert isinstance(bundle_of_archive(archive, "any"), Bundle)
        except BundleError as error:
            assert error.problems


@given(FILES, FORMS, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8), st.integers(0))
def test_an_archive_that_is_changed_anywhere_gives_plain_paths_or_an_error(
    files: dict[str, bytes], form: int, changes: list[tuple[int, int]], cut: int
) -> None:
    tar = bytearray(gzip.decompress(archive_of(*files.items(), form=form)))
    for place, value in changes:
        tar[place % len(tar)] = value
    found = read(gzip.compress(bytes(tar[: len(tar) - cut % len(tar)] if changes else tar), 1)) or {}
    for path, content in found.items():
        assert not {"", ".", ".."} & set(path.split("/"))
        assert len(content) <= MAX_FILE


@given(FILES, st.integers(0), st.integers(1, 255))
def test_a_compressed_archive_that_is_changed_never_gives_other_files(
    files: dict[str, bytes], place: int, change: int
) -> None:
    archive = bytearray(pack(files))
    archive[place % len(archive)] ^= change
    assert read(bytes(archive)) in (None, files)  # the gzip header has bytes that say nothing
