"""cordon doctor: what is wrong with this installation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cordon.commands.common import file_option, json_option
from cordon.doctor.examine import examine
from cordon.output import bad, emit, good, warned

MARKS = {"ok": good("  ok"), "warn": warned("warn"), "fail": bad("fail")}


@click.command()
@file_option
@json_option
def doctor(file: Path, as_json: bool) -> int:
    """Look at this installation and say what is wrong and what to do. Nothing is changed."""
    findings = []
    for finding in examine(file):
        findings.append(finding)
        if not as_json:
            click.echo(f"{MARKS[finding.level]}  {finding.check:<16}{finding.text}")
            if finding.remedy:
                click.echo(f"{'':<22}→ {finding.remedy}")
    failed = sum(finding.level == "fail" for finding in findings)
    warnings = sum(finding.level == "warn" for finding in findings)
    if as_json:
        emit({"findings": [asdict(finding) for finding in findings], "failed": failed}, "", True)
    else:
        click.echo(f"\n{failed} to mend, {warnings} to look at, {len(findings) - failed - warnings} in order")
    return 1 if failed else 0
