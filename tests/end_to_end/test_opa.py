"""A whole Cordon that a real OPA server decides for, and the page about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lineage.metrics import load_snapshots, values
from lineage.paths import Paths
from policies.settings import Policy
from tests.support.gateway import BUNDLE, ROOT, Cordon, cordon, free_ports, wait_for
from tests.support.opa import OpaServer, opa_server
from tests.support.servers import require_binary

PAGE = (ROOT / "docs/opa.md").read_text()


@pytest.fixture(scope="module")
def server() -> Iterator[OpaServer]:
    with opa_server() as running:
        yield running


def call(running: Cordon, key: str, path: str = "/crm/customers/1001") -> httpx.Response:
    return httpx.get(f"{running.url}{path}", headers={"authorization": f"Bearer {key}"})


def ready(running: Cordon) -> int:
    return httpx.get(f"{running.control_url}/readyz").status_code


def test_calls_are_decided_by_the_server_refused_without_it_and_served_again(server: OpaServer) -> None:
    def change(config: dict[str, Any]) -> None:
        config["policy"] |= {"engine": "opa", "url": server.url, "deadline_ms": 5_000, "reload_seconds": 0.2}
        config["gateway"]["workers"] = 2
        config["detection"]["refusal_burst"]["threshold"] = 1_000

    with cordon(change) as running:
        key = running.key("ci-bot")
        answer = call(running, key)
        assert answer.status_code == 200
        intent, outcome = running.of_call(answer.headers["x-cordon-call"])
        loaded = running.until("policy.loaded")
        assert intent["policy"] == outcome["policy"] == loaded["revision"]
        assert "cordon/residency.rego" in server.modules()

        refused = call(running, key, "/payments/transfers")
        assert refused.status_code == 403
        assert refused.json()["reasons"][0]["rule"] != "policy.result"
        wait_for(lambda: ready(running) == 200)
        findings = {row["check"]: row for row in running.cli("doctor")["findings"]}
        assert findings["opa"]["level"] == "ok"
        assert loaded["revision"] in findings["opa"]["text"]

        server.kill()
        lost = call(running, key)
        assert lost.status_code == 503
        assert lost.json()["type"] == "urn:cordon:refusal:policy_unavailable"
        assert running.until("policy.server_lost")["reason"] == "connect"
        assert running.until("alert.raised", detector="policy_server")["severity"] == "high"
        wait_for(lambda: ready(running) == 503)
        findings = {row["check"]: row for row in running.cli_at_fault("doctor")["findings"]}
        assert findings["opa"]["level"] == "fail"
        before = len(running.records(0, "call.intent"))
        assert call(running, key).status_code == 503
        assert len(running.records(0, "call.intent")) == before

        server.start()
        wait_for(lambda: call(running, key).status_code == 200)
        assert running.until("policy.server_back")
        wait_for(lambda: ready(running) == 200)
        snapshots = wait_for(lambda: load_snapshots(Paths(running.data_dir).metrics))
        assert sum(values(snapshots, "cordon_policy_server_errors_total")) > 0


def test_the_page_says_what_works(tmp_path: Path) -> None:
    """Every command is run and every configuration read, on ports of the test."""
    ports = dict(zip(("8181", "8182"), map(str, free_ports(2)), strict=True))
    shutil.copytree(BUNDLE, tmp_path / "policies/bundles/starter")
    opa = require_binary("opa")
    environment = os.environ | {"PATH": f"{opa.parent}:{os.environ['PATH']}"}
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
            for line in block.splitlines():
                words = re.sub("|".join(ports), lambda match: ports[match[0]], line).split()
                if words[:2] == ["opa", "run"]:
                    silent = subprocess.DEVNULL
                    servers.append(subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=silent, stderr=silent))
                else:
                    subprocess.run(words, cwd=tmp_path, env=environment, check=True, timeout=60)
        pages = [yaml.safe_load(block)["policy"] for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
        assert [Policy(**page).engine for page in pages] == ["opa"] * 4
        for page, port in zip(pages, ports.values(), strict=False):

            def change(config: dict[str, Any], page: dict[str, Any] = page, port: str = port) -> None:
                config["policy"] = page | {"url": f"http://127.0.0.1:{port}", "deadline_ms": 5_000}
                if "bundle" in page:
                    config["policy"]["bundle"] = str(tmp_path / page["bundle"])

            with cordon(change) as running:
                key = running.key("ci-bot")
                wait_for(lambda key=key, running=running: call(running, key).status_code == 200)  # type: ignore[misc]
                assert call(running, key, "/payments/transfers").status_code == 403
                intent = running.records(0, "call.intent")[-1]
                assert (intent["policy"] == "2026-11-25") == (page.get("push") is False)
    finally:
        for each in servers:
            each.kill()
            each.wait()
