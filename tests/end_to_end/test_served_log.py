"""The control server's own log, checked over HTTP by a program that is not ours, with a reader token and without."""

from __future__ import annotations

import time

from lineage import actions
from lineage.actions import Stamp
from lineage.keys import load_verifier
from lineage.note import Checkpoint, open_checkpoint
from tests.end_to_end.test_log_checker import check
from tests.support import traffic
from tests.support.console import Console, running_console


def checkpoint_of(console: Console, size: int) -> Checkpoint:
    """The served checkpoint, as soon as it covers that many records."""
    deadline, http = time.monotonic() + 10, console.http()
    while True:
        answer = http.get("/log/checkpoint")
        if answer.status_code == 200:
            checkpoint = open_checkpoint(answer.content, [load_verifier(console.data_dir)])
            if checkpoint.size >= size:
                return checkpoint
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_foreign_checker_passes_the_control_servers_log_for_a_reader_and_for_nobody_else():
    with running_console() as console:
        text, record = actions.create_key(Stamp.now("cli-TEST"), name="auditor", tenant="acme", kind="reader", by="cli")
        console.append(record)
        for _ in range(6):
            traffic.hour(console)
        checkpoint = checkpoint_of(console, len(console.records()))
        assert checkpoint.size > 256
        url = f"{console.url}/log/"
        passed = check(url, console.data_dir, checkpoint, token=text)
        assert passed.passed, passed.text
        assert console.http().get("/log/vkey").text == f"{load_verifier(console.data_dir)}\n"

        stranger = check(url, console.data_dir, checkpoint, token="cordonr_" + "A" * 43)
        assert stranger.failed
        assert "401" in stranger.text
        key = str(record["key"])
        console.append(actions.revoke_key(Stamp.now("cli-TEST"), key=key, by="cli", known={key}))
        assert check(url, console.data_dir, checkpoint, token=text).failed
