"""The playground: a bundle that somebody is writing, tried on an input, apart from the bundle in force.

Files are one text with a line `-- NAME --` before each, so that the page is a form like any other. Each try is a
process that is bounded in time and memory (`policies.trial`), one at a time for each operator and few in all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from lineage.actions import read_input
from lineage.kept import kept_inputs
from lineage.side_place import SidePlace
from policies.bundle import Bundle
from policies.engine import Moment
from policies.errors import BundleError, PolicyError
from policies.settings import Policy
from policies.trial import try_out
from siem.console.errors import Invalid, NotFound, Throttled
from siem.console.journal import Journal

MOST_AT_ONCE: Final = 2
_HEADING: Final = re.compile(r"-- (\S{1,200}) --")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded call's masked input, and the moment that it was of."""

    document: Any
    moment: Moment


class Playground:
    """`configured` reads the bundle of the configuration as it is now; BundleError, see there."""

    def __init__(self, journal: Journal, place: SidePlace, configured: Callable[[], Bundle], settings: Policy) -> None:
        self._journal = journal
        self._place = place
        self._configured = configured
        self._settings = settings
        self._turn = threading.Lock()
        self._trying: set[str] = set()

    def start(self) -> str:
        """The files of the configured bundle as one text, to begin with; `Invalid` where it cannot be read."""
        try:
            return joined(self._configured())
        except (BundleError, PolicyError) as error:
            raise Invalid(f"The configured bundle cannot be read: {error}", field="files") from error

    def recorded(self, index: int, record: Mapping[str, Any], *, by: str) -> Recorded:
        """The masked input of the call whose `record` is at `index`; that it was read is recorded first."""
        side = record.get("side")
        if not isinstance(side, str) or not side:
            raise NotFound("That record names no input: give the index of a call's intent, outcome or refusal.")
        tenant = str(record.get("tenant", ""))
        self._journal.append(read_input(self._journal.stamp(), index=index, tenant=tenant, by=by))
        with kept_inputs(self._place.data_dir, self._place.database) as kept:
            document = kept(tenant, side)
        if document is None:
            raise NotFound("The input is gone: it is kept for a time, or its tenant was erased.")
        value = orjson.loads(document)
        if not isinstance(value, dict) or value.get("phase") not in set(Moment):
            raise NotFound("The input that was kept is none of a decision.")
        return Recorded(value, Moment(value["phase"]))

    def run(
        self, files: Mapping[str, str], document: object, moment: Moment, *, tests: bool, by: str
    ) -> dict[str, Any]:
        """Try a bundle out (`policies.trial.try_out`); `Invalid` where that cannot be done."""
        with self._in_turn(by):
            try:
                return try_out(files, document, moment, self._settings, tests=tests)
            except BundleError as error:
                raise Invalid(f"{error.problems[0]}", field="files") from error
            except PolicyError as error:
                raise Invalid(f"{error}.", field="files") from error

    @contextmanager
    def _in_turn(self, who: str) -> Iterator[None]:
        with self._turn:
            if who in self._trying or len(self._trying) >= MOST_AT_ONCE:
                raise Throttled("Another try is still under way; come back in some seconds.")
            self._trying.add(who)
        try:
            yield
        finally:
            with self._turn:
                self._trying.discard(who)


def joined(bundle: Bundle) -> str:
    """A bundle's files as one text; its data as data.json."""
    files = {**bundle.modules, **bundle.tests}
    if bundle.data:
        files["data.json"] = orjson.dumps(bundle.data, option=orjson.OPT_INDENT_2).decode() + "\n"
    return "".join(f"-- {file} --\n{text.rstrip()}\n\n" for file, text in sorted(files.items(), key=_order))


def _order(item: tuple[str, str]) -> tuple[int, str]:
    """Rules first, then data, then tests."""
    file = item[0]
    return (2 if file.endswith("_test.rego") else 0 if file.endswith(".rego") else 1), file


def parted(text: str) -> dict[str, str]:
    """The files in one text; `Invalid` where a name stands twice or something stands before the first."""
    files: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.replace("\r\n", "\n").split("\n"):
        heading = _HEADING.fullmatch(line)
        if heading is not None:
            if heading[1] in files:
                raise Invalid(f"The file {heading[1]} is there twice.", field="files")
            lines = files[heading[1]] = []
        elif lines is not None:
            lines.append(line)
        elif line.strip():
            raise Invalid("Put a line such as -- request.rego -- before the first file.", field="files")
    return {file: "\n".join(found).rstrip() + "\n" for file, found in files.items()}
