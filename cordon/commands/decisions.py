"""cordon log decisions: the decisions in the log as OPA's decision logs have them, as they would be delivered."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import click

from cordon.commands.common import Duration, config_option, json_option
from cordon.config import Config
from cordon.output import emit, progress
from siem.decision_logs.running import open_source
from siem.decision_logs.source import Batch


@click.command()
@click.option("--since", type=Duration(), help="How far back to begin; without it, at the log's beginning.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, instead of printing."
)
@config_option
@json_option
def decisions(config: Config, since: int | None, output: Path | None, as_json: bool) -> None:
    """Print decisions as events in OPA's decision log format, one JSON object a line.

    They are the events that `decision_logs` delivers: data.system.log.drop and data.system.log.mask of the bundle are
    applied, and what was not kept or is gone is listed as erased.
    """
    with ExitStack() as opened:
        source = opened.enter_context(
            closing(open_source(config.data_dir, config.database, config.policy, patient=False))
        )
        now = time.time_ns() // 1_000_000
        start = source.reader.first_since(now - since * 1000) if since is not None else 0
        end = source.reader.size()
        out: IO[bytes] = opened.enter_context(output.open("wb")) if output else sys.stdout.buffer
        count = dropped = masked = 0
        with progress("Writing", end - start, output is None) as bar:
            while start < end:
                batch = source.batch(start)
                written = _write(batch, end, out)
                count, dropped, masked = count + written, dropped + batch.dropped, masked + batch.masked
                bar.update(batch.next - start)
                if batch.next == start:
                    break
                start = batch.next
        out.flush()
    if output:
        text = f"Wrote {output}: {count} decisions, {masked} of them masked; {dropped} were left out by the bundle."
        emit({"decisions": count, "masked": masked, "dropped": dropped, "file": str(output)}, text, as_json)


def _write(batch: Batch, end: int, out: IO[bytes]) -> int:
    """The events that were in the log when this began; how many."""
    lines = [entry.line for entry in batch.entries if entry.index < end]
    out.writelines(line + b"\n" for line in lines)
    return len(lines)
