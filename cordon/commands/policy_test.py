"""cordon policy test: the tests of a bundle, their coverage, and both again whenever a file changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from cordon.bundles import read_bundle
from cordon.commands.common import bundle_argument, bundle_settings, file_option, json_option, tell_engine
from cordon.output import bad, good, json_text, printable, warned
from policies.authoring.coverage import Coverage
from policies.authoring.junit import junit
from policies.authoring.running import MOST_JOBS, Run, TestResult, run_tests
from policies.bundle import signature
from policies.errors import BundleError
from policies.rego.builtins import OPA_SERVER
from policies.settings import BundlePlace

LOOK_SECONDS: Final = 0.3
MOST_SHOWN: Final = 20


@click.command("test")
@bundle_argument
@click.option("-k", "pattern", default="", help="Only tests whose name has this in it.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, MOST_JOBS), default=None,
    help="Run in so many processes; without it, as many as are worth starting.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=5.0, show_default=True, help="Seconds for one test."
)
@click.option("--coverage", is_flag=True, help="Say which lines and rules the tests evaluate.")
@click.option(
    "--threshold", type=click.FloatRange(0, 100), default=None, metavar="PERCENT",
    help="Fail if fewer lines than this are covered.",
)  # fmt: skip
@click.option(
    "--junit", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML to this file."
)
@click.option("--watch", is_flag=True, help="Run again whenever a file of the bundle changes; Ctrl-C ends it.")
@click.option("-v", "--verbose", is_flag=True, help="List all tests, not only those that fail.")
@file_option
@json_option
def test(
    bundle: BundlePlace | None,
    pattern: str,
    jobs: int | None,
    timeout: float,
    coverage: bool,
    threshold: float | None,
    report: Path | None,
    watch: bool,
    verbose: bool,
    file: Path,
    as_json: bool,
) -> int:
    """Run the tests of BUNDLE: the rules named test_…, as `opa test` does; the exit code is 1 when one fails."""
    settings = bundle_settings(bundle, file)
    tell_engine(settings, as_json)
    place = settings.bundle
    if watch and isinstance(place, str):
        raise click.UsageError("--watch is for a folder or an archive, not for a URL")

    def once() -> tuple[int, str]:
        run = run_tests(
            read_bundle(settings), pattern, jobs=jobs, seconds=timeout, coverage=coverage or threshold is not None
        )
        if report:
            report.write_bytes(junit(run.results))
        short = run.coverage is not None and threshold is not None and run.coverage.line_percent < threshold
        failed = not run.results or run.count("failed", "error") > 0 or short
        if as_json:
            return int(failed), json_text(_value(run, failed), compact=watch)
        lines = [*_told(run, pattern, verbose, threshold)]
        if settings.engine == "opa" and any(OPA_SERVER in result.detail for result in run.results):
            lines.append(warned("what only the OPA server can evaluate, `opa test` tests"))
        return int(failed), "\n".join(lines)

    if watch:
        return _watched(place, once, as_json)
    code, text = once()
    click.echo(text)
    return code


def _watched(place: BundlePlace, once: Callable[[], tuple[int, str]], as_json: bool) -> int:
    """Run now and after each change until Ctrl-C; the exit code is that of the last run."""
    code = 1
    try:
        while True:
            seen = signature(place)
            try:
                code, text = once()
            except BundleError as error:
                value = {"problems": [asdict(problem) for problem in error.problems], "ok": False}
                text = json_text(value, compact=True) if as_json else bad("\n".join(map(printable, error.problems)))
                code = 1
            click.echo(text)
            if not as_json:
                click.echo(f"{time.strftime('%H:%M:%S')} waiting for changes; Ctrl-C ends")
            while signature(place) == seen:
                time.sleep(LOOK_SECONDS)
            _settle(place)
    except KeyboardInterrupt:
        return code


def _settle(place: BundlePlace) -> None:
    """Wait until nobody is in the middle of writing."""
    seen = signature(place)
    while True:
        time.sleep(LOOK_SECONDS / 2)
        now = signature(place)
        if now == seen:
            return
        seen = now


def _value(run: Run, failed: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "tests": [asdict(result) for result in run.results],
        "passed": run.count("passed"),
        "failed": run.count("failed", "error"),
        "skipped": run.count("skipped"),
        "ok": not failed,
        "engine": "embedded",
    }
    if run.coverage:
        files = [asdict(each) | {"percent": each.percent} for each in run.coverage.files]
        value["coverage"] = asdict(run.coverage) | {"files": files}
    return value


def _told(run: Run, pattern: str, verbose: bool, threshold: float | None) -> Iterator[str]:
    for result in run.results:
        if result.outcome in ("failed", "error") or verbose:
            yield from _test(result, verbose)
    if run.results:
        skipped = run.count("skipped")
        yield f"{run.count('passed')} passed, {run.count('failed', 'error')} failed, {skipped} skipped"
    else:
        yield bad("there are no tests" + (f" with {printable(pattern)} in their name" if pattern else ""))
    if run.coverage:
        yield from _covered(run.coverage, threshold)


def _test(result: TestResult, verbose: bool) -> Iterator[str]:
    paint = {"passed": good, "skipped": warned}.get(result.outcome, bad)
    detail = f": {printable(result.detail)}" if result.detail else ""
    time_taken = f"  {result.milliseconds:.2f} ms" if verbose and result.outcome != "skipped" else ""
    place = f"{result.file}:{result.at or result.line}"
    yield f"{paint(result.outcome)}  {printable(place)}: {printable(result.name)}{detail}{time_taken}"
    for case in result.cases:
        if not case.passed:
            place = f"{result.file}:{case.at or result.line}"
            yield f"  {bad('failed')}  {printable(place)}: [{printable(case.name)}]: {printable(case.detail)}"
        elif verbose:
            yield f"  {good('passed')}  [{printable(case.name)}]"


def _covered(coverage: Coverage, threshold: float | None) -> Iterator[str]:
    for each in coverage.files:
        if each.missed:
            yield f"  {printable(each.file)}: {each.percent:g} %, not evaluated: {_ranges(each.missed)}"
    for rule in coverage.uncovered[:MOST_SHOWN]:
        yield f"  {printable(rule.file)}:{rule.line}: no test evaluates {printable(rule.rule)} to the end"
    if len(coverage.uncovered) > MOST_SHOWN:
        yield f"  and {len(coverage.uncovered) - MOST_SHOWN} more rules; --json lists them all"
    text = f"coverage: {coverage.line_percent:g} % of lines, {coverage.rule_percent:g} % of rules"
    if threshold is not None and coverage.line_percent < threshold:
        yield bad(f"{text}; {threshold:g} % of lines are asked for")
    else:
        yield good(text)


def _ranges(lines: tuple[int, ...]) -> str:
    """Line numbers as `lines 3, 5-7`."""
    parts: list[list[int]] = []
    for line in lines:
        if parts and parts[-1][-1] == line - 1:
            parts[-1] = [parts[-1][0], line]
        else:
            parts.append([line])
    return f"line{'' if len(lines) == 1 else 's'} " + ", ".join("-".join(map(str, part)) for part in parts)
