"""A whole Cordon that follows a bundle server and takes up nothing but what was signed by the configured key."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import pytest

from lineage.metrics import load_snapshots
from lineage.paths import Paths
from policies.bundle import make_bundle
from tests.support.bundles import bundle_host, signed, write_keys
from tests.support.gateway import BUNDLE, ROOT, START_SECONDS, Cordon, cordon, wait_for

STARTER = {path.name: path.read_bytes() for path in BUNDLE.iterdir() if path.is_file()}
CLOSED = {**STARTER, "request.rego": b'package cordon.request\n\ndecision := {"allow": false}\n'}
PATH = "/crm/customers/1001"


def metric(running: Cordon, name: str, *labels: str) -> float:
    """A counter or gauge of the worker with these labels."""
    snapshots = load_snapshots(Paths(running.data_dir).metrics)
    tallies = [tally for snapshot in snapshots for tally in snapshot["tallies"] if tally["name"] == name]
    return sum(tally["value"] for tally in tallies if tuple(tally["labels"]) == labels)


def rejected(running: Cordon, start: int, said: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        return next((each for each in running.records(start, "policy.rejected") if said in str(each["problems"])), None)

    return wait_for(find, 20)


def test_new_bundles_are_taken_up_and_whatever_is_not_as_signed_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    keys = tmp_path_factory.mktemp("keys")
    private, public = write_keys(keys, "ES256")
    stranger = write_keys(keys, "ES256", "stranger")[0]
    open_, closed = signed(STARTER, private), signed(CLOSED, private)

    def configured(config: dict[str, Any]) -> None:
        config["policy"] = {
            "bundle": host.url,
            "verification": {"key": str(public)},
            "download": {"wait_seconds": 60, "poll_seconds": 1, "timeout_seconds": 20},
            "reload_seconds": 0.1,
        }
        config["detection"]["refusal_burst"]["threshold"] = 1_000

    with bundle_host(open_) as host, cordon(configured) as running:
        key = running.key("ci-bot")

        def status() -> int:
            return httpx.get(f"{running.url}{PATH}", headers={"authorization": f"Bearer {key}"}).status_code

        # 1. What the server has is in force, by its revision.
        assert status() == 200
        assert running.records(0, "call.intent")[-1]["policy"] == make_bundle(STARTER).revision

        # 2. News come at once, since the server holds the request open.
        start = len(running.records())
        host.put(closed)
        wait_for(lambda: status() == 403)
        assert running.until("policy.loaded", start, revision=make_bundle(CLOSED).revision)

        # 3. Nothing else than what was signed: the bundle before stays in force.
        attacks = {
            "request.rego: was changed after it was signed": closed | {"request.rego": STARTER["request.rego"]},
            "roles.rego: is listed in the signature, but not": {k: v for k, v in closed.items() if k != "roles.rego"},
            "more.rego: is not listed": closed | {"more.rego": b"package cordon.request\n"},
            "not good by the configured key": signed(STARTER, stranger),
            "the bundle is not signed": {"patch.json": b'{"data": []}', ".manifest": b"{}"},
        }
        for said, files in attacks.items():
            start = len(running.records())
            host.put(files)
            record = rejected(running, start, said)
            assert record["bundle"] == host.url
            assert status() == 403
        assert running.until("alert.raised", detector="rejected")
        wait_for(lambda: metric(running, "cordon_policy_downloads_total", "refused") >= len(attacks))
        assert metric(running, "cordon_policy_download_up") == 1
        findings = {row["check"]: row for row in running.cli_at_fault("doctor")["findings"]}
        assert "the bundle is not signed" in findings["bundle"]["text"]

        # 4. With the server away all goes on, also in a worker that starts again.
        host.put(closed)
        wait_for(lambda: metric(running, "cordon_policy_downloads_total", "new") >= 3)
        start = len(running.records())
        host.put(closed, 500)
        rejected(running, start, "the server answered 500")
        wait_for(lambda: metric(running, "cordon_policy_download_up") == 0)
        assert status() == 403
        before = running.kill("gateway-0")
        wait_for(
            lambda: running.processes().get("gateway-0", before) != before and reachable(running) and status() == 403,
            30,
        )

        # 5. And once it is back, its bundle is taken up.
        host.put(open_)
        wait_for(lambda: status() == 200, 30)


def reachable(running: Cordon) -> bool:
    try:
        return httpx.get(f"{running.url}/").status_code > 0
    except httpx.TransportError:
        return False


def test_a_first_start_without_its_bundle_ends_with_one_error_and_leaves_nothing_in_the_way() -> None:
    def configured(config: dict[str, Any]) -> None:
        config["policy"] = {"bundle": host.url}

    with bundle_host(STARTER) as host, cordon(configured, start=False) as running:
        host.put(STARTER, 503)
        command = [sys.executable, "-m", "cordon.cli", "up", "-c", str(running.file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_SECONDS)
        assert (done.returncode, done.stdout) == (1, "")
        (told,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert told.startswith(f"error: gateway-0 did not start: {host.url}: ")
        assert "the server answered 503" in told and "policy.bundle" in told
        for url in (running.url, running.control_url):
            with pytest.raises(httpx.ConnectError):
                httpx.get(url)
        assert running.records(0, "policy.loaded", "call.intent") == []

        host.put(STARTER)
        running.start()
        key = running.key("ci-bot")
        assert httpx.get(f"{running.url}{PATH}", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert running.cli("log", "verify")["wrong"] == 0
