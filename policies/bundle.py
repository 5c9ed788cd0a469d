"""A policy bundle, read once into memory: what is admitted is, byte for byte, what is evaluated.

It lies in a folder or in a .tar.gz as `opa build` writes it. The layout is OPA's: `.rego` files anywhere; `data.json`,
`data.yaml` or `data.yml` in any folder, whose value stands at that folder's path below `data`; an optional `.manifest`.
Files named `*_test.rego` are read for `cordon policy test` and never served. Where bundles are to be signed, every
file counts (`signatures.py`), though what is not of the layout is not served.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import orjson

from policies.datafiles import MAX_DEPTH, read_json, read_yaml
from policies.errors import BundleError, Problem
from policies.result import TOKENISE
from policies.settings import Verification
from policies.signatures import verify
from policies.tarball import MAX_BUNDLE, MAX_FILE, MAX_FILES, unpack

MAX_FOLDERS: Final = 1_000
DELTA: Final = "patch.json"
"""The file that makes a bundle a delta: a list of changes to another one."""

_DATA_READERS: Final = {"data.json": read_json, "data.yaml": read_yaml, "data.yml": read_yaml}
DATA_FILES: Final = frozenset(_DATA_READERS)
"""Names of files that hold data."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's content. Paths are relative to its folder, with `/`.

    `digest` is the SHA-256, in hex, over paths and bytes of all that is served; `label` is for people (the manifest's
    revision, or the folder's name). `data` is the merged data and `data_json` its JSON text.
    """

    label: str
    digest: str
    modules: Mapping[str, str]
    tests: Mapping[str, str]
    data: Mapping[str, object]
    data_json: str

    @property
    def revision(self) -> str:
        """The short name of this content in records: the digest's first 16 digits."""
        return self.digest[:16]

    @property
    def tokenises(self) -> bool:
        """Whether the bundle may ask to tokenise: whether it has the word outside of comments."""
        return TOKENISE in self.data_json or any(map(_tokenises, self.modules.values()))


def _tokenises(module: str) -> bool:
    return TOKENISE in module and any(
        TOKENISE in line for line in module.splitlines() if not line.lstrip().startswith("#")
    )


def load_bundle(place: Path | str, verification: Verification | None = None) -> Bundle:
    """Read the bundle in a folder or a .tar.gz; BundleError lists everything that is wrong with its files.

    Verified are the very bytes that make the bundle, so that nothing can change in between.
    """
    if isinstance(place, str):
        raise BundleError([Problem(place, 0, 0, "missing", "a bundle on a server has to be downloaded first")])
    root = _resolved(place)
    if root.is_file():
        return bundle_of_archive(_read(root, place.name, MAX_BUNDLE), root.name, verification)
    if verification is None:
        return make_bundle(read_files(place), label=root.name)
    files = read_files(place, everything=True)
    verify(files, verification, root)
    return make_bundle(_served(files), label=root.name)


def bundle_of_archive(archive: bytes, label: str, verification: Verification | None = None) -> Bundle:
    """The bundle in a .tar.gz, as `load_bundle` makes it.

    OPA reads hidden files of an archive, though not all of a folder: such a one is refused, not read otherwise.
    """
    files = unpack(archive)
    served = _served(files)
    hidden = [path for path in files.keys() - served.keys() if _meant(PurePosixPath(path))]
    if hidden:
        place = ascii(min(hidden))[1:-1][:200]
        raise BundleError([Problem(place, 0, 0, "hidden", "the file is hidden", "take it out, or rename it")])
    if verification is not None:
        verify(files, verification)
    return make_bundle(served, label)


def read_all(place: Path) -> dict[str, bytes]:
    """Every file of a folder or a .tar.gz, hidden ones and a signatures file among them."""
    root = _resolved(place)
    return unpack(_read(root, place.name, MAX_BUNDLE)) if root.is_file() else read_files(place, everything=True)


def _meant(path: PurePosixPath) -> bool:
    return path.name.endswith(".rego") or path.name in _DATA_READERS


def _served(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that make a bundle; hidden files and folders are left out, as from a folder."""
    return {
        path: content
        for path, content in files.items()
        if _belongs(PurePosixPath(path).name, path)
        and not any(part.startswith(".") for part in PurePosixPath(path).parent.parts)
    }


def make_bundle(files: Mapping[str, bytes], label: str = "bundle") -> Bundle:
    """Make a bundle of file contents by relative path, as `load_bundle` does of a folder."""
    problems: list[Problem] = []
    modules: dict[str, str] = {}
    tests: dict[str, str] = {}
    data: dict[str, object] = {}
    digest = hashlib.sha256()
    for path in sorted(files):
        content = files[path]
        name = PurePosixPath(path).name
        try:
            if name.endswith("_test.rego"):
                tests[path] = _text(path, content)
                continue
            if name.endswith(".rego"):
                modules[path] = _text(path, content)
            elif name in _DATA_READERS:
                _place(data, path, _DATA_READERS[name](path, _text(path, content)))
            elif name == DELTA:
                remedy = "serve whole bundles: opa build, and a server that sends snapshots"
                problems.append(Problem(path, 0, 0, "delta", "the bundle is a delta, which does not count", remedy))
            elif path == ".manifest":
                label = _manifest_label(_text(path, content), label)
        except BundleError as error:
            problems.extend(error.problems)
        digest.update(b"%d:%s%d:" % (len(path.encode()), path.encode(), len(content)))
        digest.update(content)
    if not modules and not problems:
        problems.append(Problem(".", 0, 0, "empty", "there is no .rego file", "point policy.bundle at Rego files"))
    if problems:
        raise BundleError(sorted(problems))
    text = orjson.dumps(data).decode()
    return Bundle(label, digest.hexdigest(), modules, tests, data, text)


def read_files(folder: Path, *, everything: bool = False) -> dict[str, bytes]:
    """The bytes of all files of a bundle by relative path, within limits; links may not lead out of it."""
    files: dict[str, bytes] = {}
    total = 0
    for path, place in walk(folder, everything=everything):
        content = _read(path, place)
        total += len(content)
        files[place] = content
        if len(files) > MAX_FILES or total > MAX_BUNDLE:
            raise BundleError(
                [Problem(".", 0, 0, "size", f"more than {MAX_FILES} files or {MAX_BUNDLE} bytes", "split the bundle")]
            )
    return files


def signature(place: Path | str, *, everything: bool = False) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when a bundle is changed: path, time, size and inode of each file; () where it cannot be read."""
    try:
        found = [(Path(place), "")] if Path(place).is_file() else walk(Path(place), everything=everything)
        states = [(name, path.stat()) for path, name in found]
    except (OSError, BundleError):
        return ()
    return tuple((name, state.st_mtime_ns, state.st_size, state.st_ino) for name, state in states)


def walk(folder: Path, *, everything: bool = False) -> Iterator[tuple[Path, str]]:
    """The files that make a bundle, with their relative paths. Hidden files and folders are left out, unless
    `everything` there is asked for."""
    root = _resolved(folder)
    if not root.is_dir():
        problem = Problem(str(folder), 0, 0, "missing", "there is no such folder or archive", "correct policy.bundle")
        raise BundleError([problem])
    for count, (current, folders, names) in enumerate(os.walk(root)):
        if count > MAX_FOLDERS:
            raise BundleError([Problem(".", 0, 0, "size", f"more than {MAX_FOLDERS} folders", "split the bundle")])
        folders[:] = sorted(name for name in folders if everything or not name.startswith("."))
        for name in [*folders, *sorted(names)]:
            path = Path(current, name)
            place = path.relative_to(root).as_posix()
            if path.is_symlink() and not _resolved(path).is_relative_to(root):
                raise BundleError([Problem(place, 0, 0, "link", "the link leads out of the bundle", "copy the file")])
            if name not in folders and (everything or _belongs(name, place)):
                yield path, place


def _resolved(path: Path) -> Path:
    """Where links lead in the end; unlike `Path.resolve`, it does not raise on links in a circle."""
    return Path(os.path.realpath(path))


def _belongs(name: str, place: str) -> bool:
    return (
        name in {*_DATA_READERS, DELTA} or place == ".manifest" or (name.endswith(".rego") and not name.startswith("."))
    )


def _read(path: Path, place: str, limit: int = MAX_FILE) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)  # a pipe would hold up the reader
            content = file.read(limit + 1) if regular else b""
    except OSError as error:
        raise BundleError([Problem(place, 0, 0, "unreadable", f"cannot be read ({error.strerror})")]) from None
    if not regular:
        raise BundleError([Problem(place, 0, 0, "unreadable", "is no file", "take it out of the bundle")])
    if len(content) > limit:
        raise BundleError([Problem(place, 0, 0, "size", f"the file is larger than {limit} bytes", "split it")])
    return content


def _text(path: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BundleError([Problem(path, line, 0, "encoding", "the file is not UTF-8", "save it as UTF-8")]) from None


def _place(data: dict[str, object], path: str, value: object) -> None:
    """Merge a data file's value into `data` at its folder's path, as OPA does: objects merge, all else conflicts."""
    folders = PurePosixPath(path).parent.parts
    if len(folders) > MAX_DEPTH:
        raise BundleError([Problem(path, 0, 0, "data", f"below more than {MAX_DEPTH} folders", "place it higher")])
    for part in reversed(folders):
        value = {part: value}
    if not isinstance(value, dict):
        raise BundleError([Problem(path, 1, 0, "data", "the top of the data is not an object", "wrap it in one")])
    _merge(data, value, path, "data")


def _merge(into: dict[str, object], value: dict[str, object], path: str, at: str) -> None:
    for key, item in value.items():
        if key not in into:
            into[key] = item
            continue
        present = into[key]
        if not isinstance(present, dict) or not isinstance(item, dict):
            raise BundleError(
                [Problem(path, 0, 0, "data", f"another data file sets {at}.{key} as well", "keep it in one file")]
            )
        _merge(present, item, path, f"{at}.{key}")


def _manifest_label(text: str, label: str) -> str:
    value = read_json(".manifest", text)
    facts = value if isinstance(value, dict) else {}
    by_file = facts.get("file_rego_versions")
    for version in (facts.get("rego_version"), *(by_file.values() if isinstance(by_file, dict) else (by_file,))):
        if version is not None and (version != 1 or isinstance(version, bool)):
            remedy = "build it without --v0-compatible, from Rego of version 1"
            raise BundleError([Problem(".manifest", 0, 0, "rego_version", "the Rego is not of version 1", remedy)])
    revision = facts.get("revision")
    return revision[:128] if isinstance(revision, str) and revision.isprintable() and revision else label
