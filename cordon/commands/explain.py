"""cordon policy explain: why a call was decided as it was, and what would have to be otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Final, NamedTuple

import click
import orjson

from cordon.bundles import about, read_bundle, rolled_out
from cordon.commands.common import bundle_argument, file_option, json_option
from cordon.config import Config, load
from cordon.output import bad, emit, good, printable, warned
from lineage.kept import kept_inputs
from lineage.reader import open_reader
from lineage.record import decode
from policies.admission import admit_now
from policies.engine import Moment
from policies.errors import BundleError
from policies.explain import Almost, Explanation, Fired, explain, told
from policies.settings import BundlePlace, Policy
from policies.testing import Evaluation, evaluate_admitted

MOST_SHOWN: Final = 12
WIDTH: Final = 110


@click.command("explain")
@bundle_argument
@click.option("-i", "--input", "document", type=click.File("rb"), help="JSON of `input`; - reads it from stdin.")
@click.option("--index", type=click.IntRange(min=0), help="The record of a call in the log: its intent or refusal.")
@click.option(
    "--moment", type=click.Choice([moment.value for moment in Moment]), default=Moment.REQUEST.value, show_default=True,
    help="When the decision is asked for.",
)  # fmt: skip
@file_option
@json_option
def explain_command(
    bundle: BundlePlace | None, document: IO[bytes] | None, index: int | None, moment: str, file: Path, as_json: bool
) -> int:
    """Show which rules of BUNDLE decide on a document or a recorded call, which almost do, and the smallest changes
    of the input or the data that would have allowed it. The exit code is 1 for a denial.

    BUNDLE is a folder, a .tar.gz or the URL of one; without it, the roll-out that decided the recorded call is meant,
    or else the configured bundle.
    """
    if (document is None) == (index is None):
        raise click.UsageError("name either a document (--input) or a recorded call (--index)")
    config = load(file) if file.exists() or bundle is None else None
    settings = config.policy if config is not None else Policy()
    if bundle is not None:
        settings = about(settings, bundle)
    call = None
    if document is not None:
        text = document.read()
    else:
        assert index is not None
        call = _recorded(load(file), index)
        text = call.document
    decided = None if call is None or bundle is not None else rolled_out(load(file), call.revision)
    found = read_bundle(settings) if decided is None else decided
    admission = admit_now(found, settings)
    if admission.bundle is None:
        raise BundleError(admission.errors)
    evaluated = evaluate_admitted(admission.bundle, text, Moment(moment), settings)
    explained = explain(found, evaluated.rule, orjson.loads(text), allowed=evaluated.decision.allow)
    notes = [] if call is None else list(_notes(call, evaluated.revision))
    emit(told(evaluated, explained) | {"notes": notes}, "\n".join(_lines(evaluated, explained, notes)), as_json)
    return 0 if evaluated.decision.allow else 1


class _Recorded(NamedTuple):
    """A recorded call: its masked input, and the revisions that decided it (`own`: of the tenant's own bundle)."""

    document: bytes
    revision: str
    own: str


def _recorded(config: Config, index: int) -> _Recorded:
    """The call whose record is at `index`."""
    with closing(open_reader(config.data_dir, config.database)) as reader:
        record = next((decode(data) for at, data in reader.read(index, 1) if at == index), None)
    if record is None:
        raise click.ClickException(f"the log has no record {index}")
    side = str(record.get("side", ""))
    if not side:
        kind = record.get("kind")
        raise click.ClickException(f"record {index} ({kind}) names no input; name a call's intent or its refusal")
    with kept_inputs(config.data_dir, config.database) as kept:
        document = kept(str(record.get("tenant", "")), side)
    if document is None:
        raise click.ClickException(f"the input of record {index} is gone; it was kept for a time, or its tenant erased")
    return _Recorded(document, str(record.get("policy", "")), str(record.get("tenant_policy", "")))


def _notes(call: _Recorded, explained: str) -> Iterator[str]:
    """What has to be known to read the explanation of a recorded call rightly."""
    if call.own:
        yield (
            f"two bundles decided this call, and both had to allow it: the common one ({call.revision}) and the "
            f"tenant's own ({call.own}); this explains {explained} alone"
        )
    if call.revision and explained not in {call.revision, call.own}:
        yield f"the call was decided by revision {call.revision}, and this explains {explained}"


def _lines(evaluated: Evaluation, explained: Explanation, notes: Sequence[str]) -> Iterator[str]:
    decision = evaluated.decision
    yield from (warned(note) for note in notes)
    yield good("allow") if decision.allow else bad("deny")
    for reason in decision.reasons:
        yield f"  {printable(f'{reason.rule}: {reason.detail} {reason.fix}')}"
    yield ""
    yield f"Rules of revision {evaluated.revision} that hold:"
    for fired in explained.fired:
        yield f"  {_place(fired)} = {_cut(fired.value)}"
    if explained.almost:
        yield ""
        yield "Rules that one condition alone keeps from holding:"
        for almost in explained.almost[:MOST_SHOWN]:
            seen = "".join(f"; {name} is {_cut(value)}" for name, value in almost.seen.items())
            yield f"  {_place(almost)}: {_line(almost.condition)}{printable(seen)}"[:200]
        if len(explained.almost) > MOST_SHOWN:
            yield f"  and {len(explained.almost) - MOST_SHOWN} more (--json shows them)"
    if explained.changes:
        yield ""
        yield "Each of these alone would have allowed it:"
        yield from (f"  {printable(' and '.join(map(str, changes)))}" for changes in explained.changes)
    elif not decision.allow:
        yield ""
        yield "No change of one or two places that was tried would have allowed it."


def _place(found: Fired | Almost) -> str:
    return printable(f"{found.file}:{found.line}  {found.rule.removeprefix('data.')}")


def _line(text: str) -> str:
    return printable(" ".join(text.split()))


def _cut(value: object) -> str:
    text = printable("undefined" if value == "<undefined>" else orjson.dumps(value).decode())
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
