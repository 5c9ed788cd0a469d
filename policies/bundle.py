"""A policy bundle on disk, read once into memory: what is admitted is, byte for byte, what is evaluated.

The layout is OPA's: `.rego` files anywhere; `data.json`, `data.yaml` or `data.yml` in any folder, whose value stands
at that folder's path below `data`; an optional `.manifest`. Files named `*_test.rego` are read for `cordon policy test`
and never served.
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

from policies.datafiles import read_json, read_yaml
from policies.errors import BundleError, Problem
from policies.result import TOKENISE

MAX_FILES: Final = 1_000
MAX_FILE: Final = 1_048_576
MAX_BUNDLE: Final = 16_777_216
MAX_FOLDERS: Final = 1_000

_DATA_READERS: Final = {"data.json": read_json, "data.yaml": read_yaml, "data.yml": read_yaml}


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


def load_bundle(folder: Path) -> Bundle:
    """Read the bundle in `folder`; BundleError lists everything that is wrong with its files."""
    files = read_files(folder)
    return make_bundle(files, label=_resolved(folder).name)


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


def read_files(folder: Path) -> dict[str, bytes]:
    """The bytes of all files of a bundle by relative path, within limits; links may not lead out of it."""
    files: dict[str, bytes] = {}
    total = 0
    for path, place in walk(folder):
        content = _read(path, place)
        total += len(content)
        files[place] = content
        if len(files) > MAX_FILES or total > MAX_BUNDLE:
            raise BundleError(
                [Problem(".", 0, 0, "size", f"more than {MAX_FILES} files or {MAX_BUNDLE} bytes", "split the bundle")]
            )
    return files


def signature(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when a bundle is changed: path, time, size and inode of each file; () where it cannot be read."""
    try:
        states = [(place, path.stat()) for path, place in walk(folder)]
    except (OSError, BundleError):
        return ()
    return tuple((place, state.st_mtime_ns, state.st_size, state.st_ino) for place, state in states)


def walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files that make a bundle, with their relative paths. Hidden files and folders are left out."""
    root = _resolved(folder)
    if not root.is_dir():
        raise BundleError([Problem(str(folder), 0, 0, "missing", "there is no such folder", "correct policy.bundle")])
    for count, (current, folders, names) in enumerate(os.walk(root)):
        if count > MAX_FOLDERS:
            raise BundleError([Problem(".", 0, 0, "size", f"more than {MAX_FOLDERS} folders", "split the bundle")])
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*folders, *sorted(names)]:
            path = Path(current, name)
            place = path.relative_to(root).as_posix()
            if path.is_symlink() and not _resolved(path).is_relative_to(root):
                raise BundleError([Problem(place, 0, 0, "link", "the link leads out of the bundle", "copy the file")])
            if name not in folders and _belongs(name, place):
                yield path, place


def _resolved(path: Path) -> Path:
    """Where links lead in the end; unlike `Path.resolve`, it does not raise on links in a circle."""
    return Path(os.path.realpath(path))


def _belongs(name: str, place: str) -> bool:
    return name in _DATA_READERS or place == ".manifest" or (name.endswith(".rego") and not name.startswith("."))


def _read(path: Path, place: str) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)  # a pipe would hold up the reader
            content = file.read(MAX_FILE + 1) if regular else b""
    except OSError as error:
        raise BundleError([Problem(place, 0, 0, "unreadable", f"cannot be read ({error.strerror})")]) from None
    if not regular:
        raise BundleError([Problem(place, 0, 0, "unreadable", "is no file", "take it out of the bundle")])
    if len(content) > MAX_FILE:
        raise BundleError([Problem(place, 0, 0, "size", f"the file is larger than {MAX_FILE} bytes", "split it")])
    return content


def _text(path: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BundleError([Problem(path, line, 0, "encoding", "the file is not UTF-8", "save it as UTF-8")]) from None


def _place(data: dict[str, object], path: str, value: object) -> None:
    """Merge a data file's value into `data` at its folder's path, as OPA does: objects merge, all else conflicts."""
    for part in reversed(PurePosixPath(path).parent.parts):
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
    revision = value.get("revision") if isinstance(value, dict) else None
    return revision[:128] if isinstance(revision, str) and revision.isprintable() and revision else label
