"""cordon policy replay: what a changed bundle would have done with the calls of the last days."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from typing import Final

import click

from cordon.bundles import PastBundles, about, read_bundle
from cordon.commands.common import Bundle, Duration, config_option, json_option, tell_engine
from cordon.config import Config
from cordon.output import emit, good, printable, progress, table, warned
from lineage.kept import kept_inputs
from lineage.reader import open_reader
from lineage.record import decode
from policies.admission import admit_now
from policies.embedded import EmbeddedEngine
from policies.errors import BundleError
from policies.replay import Replay
from policies.replay_report import Report
from policies.settings import BundlePlace

PORTION: Final = 1_000
"""Records that are read and decided anew at once."""
_TITLES: Final[Mapping[str, str]] = {
    "refused": "newly refused",
    "allowed": "newly allowed",
    "redaction": "redacted otherwise",
    "endpoint": "not sent to the same endpoint",
    "answer_refused": "answers newly refused",
    "answer_allowed": "answers newly allowed",
    "answer_redaction": "answers redacted otherwise",
}


@click.command()
@click.argument("bundle", type=Bundle())
@click.option("--since", type=Duration(), default="7d", show_default=True, help="How far back to begin.")
@click.option("--until", type=Duration(), help="How far back to end; without it, now.")
@click.option("--tenant", help="Only the calls of this tenant.")
@click.option("--own", is_flag=True, help="BUNDLE is the tenant's own beside the common one (with --tenant).")
@click.option("--route", help="Only the calls of this route.")
@click.option("-n", "--examples", type=click.IntRange(0, 1_000), default=10, show_default=True, help="Records to name.")
@click.option("--check", is_flag=True, help="End with exit code 1 when any call would be dealt with otherwise.")
@config_option
@json_option
def replay(
    bundle: BundlePlace,
    since: int,
    until: int | None,
    tenant: str | None,
    own: bool,
    route: str | None,
    examples: int,
    check: bool,
    config: Config,
    as_json: bool,
) -> int:
    """Decide recorded calls anew with BUNDLE, a candidate, and say what would change.

    Masked inputs of decisions on requests and answers are kept beside the log (lineage.policy_inputs) as far as the
    bundle in force read them; what cannot be replayed is counted by its reason. BUNDLE takes the place of the common
    bundle, or of the own one of a tenant; where two bundles decide a call, the other one is asked too. The embedded
    engine decides, whatever policy.engine says.
    """
    if own and tenant is None:
        raise click.UsageError("--own needs --tenant: whose own bundle is it?")
    settings = about(config.policy, bundle)
    tell_engine(settings, as_json)
    admission = admit_now(read_bundle(settings), settings)
    if admission.bundle is None:
        raise BundleError(admission.errors)
    engine = EmbeddedEngine(admission.bundle, settings, admission.reads, admission.uncached)
    now = time.time_ns() // 1_000_000
    with closing(open_reader(config.data_dir, config.database)) as reader:
        start = reader.first_since(now - since * 1000)
        end = reader.first_since(now - until * 1000) if until is not None else reader.size()
        with kept_inputs(config.data_dir, config.database) as inputs:
            work = Replay(engine, settings, inputs, inputs.ahead, PastBundles(config), own=own)
            for _, data in reader.search(b'"kind":"policy.loaded"', 0, start):
                work.loaded(decode(data))
            began, busy = time.perf_counter(), time.process_time()
            with progress("Replaying", max(0, end - start), as_json) as bar:
                rows = reader.records(start, end)
                while portion := list(islice(rows, PORTION)):
                    records = ((index, decode(data)) for index, data in portion)
                    work.take(each for each in records if _wanted(each[1], tenant, route))
                    bar.update(len(portion))
            seconds, busy = time.perf_counter() - began, time.process_time() - busy
    report = work.report
    value = _value(report, examples) | {"seconds": round(seconds, 3), "cpu_seconds": round(busy, 3)}
    emit(value, "\n".join(_lines(report, seconds, examples)), as_json)
    return 1 if check and report.changed else 0


def _wanted(record: Mapping[str, object], tenant: str | None, route: str | None) -> bool:
    if (tenant is None and route is None) or record.get("kind") == "policy.loaded":
        return True
    return tenant in {None, record.get("tenant")} and route in {None, record.get("route")}


def _lines(report: Report, seconds: float, examples: int) -> Iterator[str]:
    decided = report.replayed + report.answers_replayed
    rate = f", {decided / seconds:,.0f} decisions a second" if seconds > 0.05 else ""
    yield f"{report.replayed} of {report.calls} calls were decided anew by revision {report.revision}{rate}"
    for reason, count in report.left_out.most_common():
        yield warned(f"  {count} not: {reason}")
    yield f"{report.answers_replayed} of {report.answers} answers were decided anew"
    for reason, count in report.answers_left_out.most_common():
        yield warned(f"  {count} not: {reason}")
    if report.by_text:
        yield warned(
            f"  {report.by_text} pass unless their text, which is not kept, breaks what the bundle demands of it"
        )
    if decided and not report.changed:
        yield good("nothing would change")
    for kind, title in _TITLES.items():
        if not report.kinds[kind]:
            continue
        yield ""
        yield f"{report.kinds[kind]} {title}"
        rows = [
            (what, printable(name), count)
            for what, counts in (("rule", report.by_rule), ("tenant", report.by_tenant), ("route", report.by_route))
            for name, count in _of_kind(counts, kind)
        ]
        yield table(("BY", "NAME", "CALLS"), rows, "")
        shown = [found for found in report.examples if found.kind == kind][:examples]
        if shown:
            lines = [(found.index, found.call, printable(f"{found.before} → {found.after}")) for found in shown]
            yield table(("INDEX", "CALL", "WHAT"), lines, "")
    if report.changed:
        yield ""
        yield "`cordon log show INDEX` shows a record."


def _of_kind(counts: Counter[tuple[str, str]], kind: str) -> list[tuple[str, int]]:
    return [(name, count) for (of, name), count in counts.most_common() if of == kind]


def _value(report: Report, examples: int) -> dict[str, object]:
    kinds = {
        kind: {
            "calls": report.kinds[kind],
            "by_rule": dict(_of_kind(report.by_rule, kind)),
            "by_tenant": dict(_of_kind(report.by_tenant, kind)),
            "by_route": dict(_of_kind(report.by_route, kind)),
            "examples": [asdict(found) for found in report.examples if found.kind == kind][:examples],
        }
        for kind in _TITLES
    }
    return {
        "engine": "embedded",
        "revision": report.revision,
        "calls": report.calls,
        "replayed": report.replayed,
        "changed": report.changed,
        "not_replayed": dict(report.left_out),
        "answers": report.answers,
        "answers_replayed": report.answers_replayed,
        "answers_not_replayed": dict(report.answers_left_out),
        "answers_by_text": report.by_text,
        "differences": kinds,
        "unlike_inputs": report.inputs,
    }
