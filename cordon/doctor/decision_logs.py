"""The destinations of decision logs: whether a collector answers and takes the token, whether a file can be written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing

from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok, warn
from gateway.policy_server import Asker
from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from lineage.errors import LineageError
from lineage.place import LogPlace
from lineage.reader import open_reader
from lineage.state import look_at_state
from policies.settings import Policy
from siem.decision_logs.http_sink import HttpSink
from siem.decision_logs.server_rules import ServerRules
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.sink import Undelivered
from siem.decision_logs.standing import Standing, standings

SECONDS = 3.0
CHECK = "decision logs"
_REMEDY = "events wait in the log meanwhile; see that it runs, and its url, ca and credential"
_REFUSED = "the record decision_log.lost has the details; see what the collector says of POST on url and resource"


def examine_decision_logs(config: Config) -> Iterator[Finding]:
    """Each destination. No event is sent, and no file is made."""
    if config.decision_logs and config.policy.engine == "opa" and not config.policy.push:
        yield from _masks(config.policy)
    where = _standings(config)
    for each in config.decision_logs:
        found = asyncio.run(_collector(each)) if each.url else _file(each)
        yield found
        if each.id in where:
            yield from _standing(where[each.id], found.level == "ok")


def _masks(settings: Policy) -> Iterator[Finding]:
    """Whether the OPA server lets Cordon ask for the masks of its bundle; one that is away is told of elsewhere."""
    with closing(Asker(settings)) as asker:
        refusal = ServerRules(settings, asker, None).refusal()
    if refusal:
        text = f"{refusal}, asked what to mask: events go without input and result"
        yield warn(CHECK, text, "let Cordon's token POST to v1/data/system/log/mask and v1/data/system/log/drop")


def _standings(config: Config) -> dict[str, Standing]:
    """Where each destination is, by its id; nothing where there is no log or no state to tell."""
    state = look_at_state(config.state_path, config.database) if config.decision_logs else None
    if state is None:
        return {}
    try:
        if not LogPlace(config.data_dir, config.database).exists():
            return {}
        with closing(open_reader(config.data_dir, config.database)) as reader:
            return {each.destination: each for each in standings(config.decision_logs, state, reader)}
    except LineageError:  # told by the checks of the log
        return {}
    finally:
        state.dispose()


def _standing(found: Standing, reached: bool) -> Iterator[Finding]:
    name, waiting = found.destination, f"{found.behind:,} records wait in the log"
    if found.lost and reached:  # it answers, and yet does not take what is sent
        yield fail(CHECK, f"{name} does not take events ({found.lost}): {waiting}", _REFUSED)
    elif found.late:
        text = f"{name} is behind: {waiting}, the oldest event for {found.age_seconds / 60:,.0f} min"
        yield warn(CHECK, text, "see that Cordon runs, and the records decision_log.lost and the metrics of deliveries")


async def _collector(settings: DecisionLog) -> Finding:
    sweep = Sweep()
    pool = UpstreamPool(Limits(), sweep)
    name = f"{settings.id}: {settings.url}"
    try:
        status = await HttpSink(settings.model_copy(update={"timeout_seconds": SECONDS}), pool).reach()
    except TimeoutError:
        return fail(CHECK, f"{name} did not answer within {SECONDS:g} s", _REMEDY)
    except Undelivered as error:
        return fail(CHECK, f"{name}: {error}", _REMEDY)
    finally:
        await pool.close()
        sweep.close()
    if status in (401, 403):
        return fail(CHECK, f"{name} refuses the token ({status})", "renew the secret that credential points to")
    return ok(CHECK, f"{name} answers")


def _file(settings: DecisionLog) -> Finding:
    assert settings.file is not None
    there = settings.file if settings.file.exists() else settings.file.parent
    if not os.access(there, os.W_OK):
        return fail(CHECK, f"{settings.id}: {there} cannot be written", "make it, or give Cordon's user the right")
    return ok(CHECK, f"{settings.id}: {settings.file} can be written")
