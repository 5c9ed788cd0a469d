"""Remembers which bundles were admitted, so that a restarted worker need not examine them again.

One file for each bundle, settings and version of the examining code, in a folder that only this user may enter; in
any other folder nothing is read. Refusals are not remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from policies.admission import Admission, asked_rules
from policies.bundle import Bundle
from policies.errors import Problem
from policies.settings import Policy
from policies.signatures import fingerprint

KEPT: Final = 16
MAX_FILE: Final = 64 << 20
_LAST: Final = "last-"
"""What the name of a bundle in force begins with; those of verdicts are hex."""


class Verdicts:
    """The folder of verdicts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, bundle: Bundle, settings: Policy) -> Admission | None:
        """The verdict on this bundle from before, or None."""
        try:
            if not self._private():
                return None
            return self._load(self._file(bundle, settings), bundle)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, bundle: Bundle, settings: Policy, verdict: Admission) -> None:
        """Keep a verdict; where that fails, the bundle is examined again next time."""
        self._keep(self._file(bundle, settings), verdict, {})

    def read_last(self, settings: Policy) -> Admission | None:
        """The bundle that was in force when a process of the same parent was here before, or None.

        A worker that is started again goes on with it while the folder holds one that is refused. Of a bundle on a
        server it is the one before whoever the parent was, so that Cordon starts while that server is away.
        """
        try:
            if not self._private():
                return None
            file = self._last(settings)
            last = json.loads(file.read_bytes())["bundle"]
            return self._load(file, Bundle(**last, modules={}, tests={}, data_json=json.dumps(last["data"])))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def last_mark(self, settings: Policy) -> object:
        """Another one whenever `read_last` may have another bundle; None where it has none."""
        try:
            state = self._last(settings).stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_ino, state.st_size

    def write_last(self, settings: Policy, verdict: Admission) -> None:
        """Keep the bundle that is in force now, whole."""
        assert verdict.bundle is not None
        bundle = verdict.bundle
        whole = {"label": bundle.label, "digest": bundle.digest, "data": bundle.data}
        with contextlib.suppress(OSError):  # of a key that is gone: nothing is verified by it any more
            self._keep(self._last(settings), verdict, {"bundle": whole})

    def _load(self, file: Path, bundle: Bundle) -> Admission:
        with file.open("rb") as text:
            kept = json.loads(text.read(MAX_FILE))
        problems = tuple(Problem(**problem) for problem in kept["problems"])
        reads = {rule: None if keys is None else frozenset(keys) for rule, keys in kept["reads"].items()}
        uncached = {rule: Problem(**problem) for rule, problem in kept["uncached"].items()}
        return Admission(replace(bundle, modules=kept["modules"]), problems, kept["costs"], reads, uncached)

    def _keep(self, target: Path, verdict: Admission, more: dict[str, object]) -> None:
        assert verdict.bundle is not None
        kept = more | {
            "problems": [asdict(problem) for problem in verdict.problems],
            "modules": dict(verdict.bundle.modules),
            "costs": dict(verdict.costs),
            "reads": {rule: None if keys is None else sorted(keys) for rule, keys in verdict.reads.items()},
            "uncached": {rule: asdict(problem) for rule, problem in verdict.uncached.items()},
        }
        draft = target.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._private():
                return
            draft.write_text(json.dumps(kept), encoding="utf-8")
            draft.replace(target)
            # Apart: the bundle that Cordon goes on with gives way to no verdicts on bundles that are rolled out.
            for kind in (f"{_LAST}*.json", f"[!{_LAST[0]}]*.json"):
                for old in sorted(self._folder.glob(kind), key=lambda file: file.stat().st_mtime)[:-KEPT]:
                    old.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()

    def _private(self) -> bool:
        state = self._folder.stat(follow_symlinks=False)
        return state.st_uid == os.geteuid() and state.st_mode & 0o077 == 0

    def _file(self, bundle: Bundle, settings: Policy) -> Path:
        parts = [bundle.digest, *asked_rules(settings), str(settings.decision_ms), _examiner()]
        return self._folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}.json"

    def _last(self, settings: Policy) -> Path:
        parts = [str(settings.bundle), fingerprint(settings.verification), *asked_rules(settings), _examiner()]
        since = "server" if isinstance(settings.bundle, str) else os.getppid()
        return self._folder / f"{_LAST}{since}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}.json"


@cache
def _examiner() -> str:
    """A digest of the code that examines, and of the engine: a verdict of other code does not count."""
    digest = hashlib.sha256(version("gordon-to-regorus").encode())
    for file in sorted(Path(__file__).parent.rglob("*")):
        if file.suffix == ".py" or file.name == "cordon_exact.rego":
            digest.update(file.read_bytes())
    return digest.hexdigest()
