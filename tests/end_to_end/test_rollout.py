"""A changed bundle on a live gateway: shadow, canary, live and back, and what happens when it is gone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from lineage.side_place import SidePlace
from tests.support.gateway import BUNDLE, Cordon, cordon, wait_for
from tests.support.users import ANOTHER, as_user, myself

PATIENCE = 60.0


class Scene(NamedTuple):
    """A Cordon, keys of two tenants, and a roll-out whose bundle grants nobody the CRM any more."""

    running: Cordon
    configured: Path
    acme: str
    globex: str
    rollout: str
    revision: str

    def says(self, key: str) -> tuple[int, str]:
        """What the CRM's route answers: the status, and the refusal's code or first rule."""
        with self.running.client(key) as client:
            answer = client.get("/crm/customers/1001")
        if answer.status_code == 200:
            return 200, ""
        value = answer.json()
        rules = [reason.get("rule", "") for reason in value["reasons"]]
        return answer.status_code, rules[0] if rules else value["type"].rpartition(":")[2]

    def does(self, *arguments: str) -> Any:
        """A command about the roll-out, by somebody else than its author."""
        return by(ANOTHER, self.running, "policy", *arguments)

    def stage(self, stage: str, *options: str) -> None:
        """Bring the roll-out to a stage."""
        self.does("stage", self.rollout, stage, *options)

    def taken_up(self, stage: str, start: int = 0) -> dict[str, Any]:
        """The record that a worker has taken the bundle up in a stage."""
        facts = {"rollout": self.rollout, "stage": stage}
        return self.running.until("policy.loaded", start, PATIENCE, **facts)


def by(name: str, running: Cordon, *arguments: str) -> Any:
    """What a command prints that this user of the machine gives."""
    with as_user(name):
        return running.cli(*arguments)


def store(running: Cordon) -> Any:
    """The side store with the archives."""
    return closing(SidePlace(running.data_dir).side())


def candidate(folder: Path) -> Path:
    """The starter bundle without the CRM, and without tests that want it."""
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("*_test.rego"))
    data = json.loads((folder / "data.json").read_text())
    for tenant in data["tenants"].values():
        del tenant["routes"]["crm"]
    (folder / "data.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("rollout")
    folder, configured = candidate(directory / "candidate"), directory / "configured"
    shutil.copytree(BUNDLE, configured)
    with cordon(lambda config: config["policy"].update(bundle=str(configured))) as running:
        proposed = by(myself(), running, "policy", "propose", str(folder))
        keys = [running.key("bot", tenant, "analyst") for tenant in ("acme", "globex")]
        yield Scene(running, configured, *keys, proposed["rollout"], proposed["revision"])


def test_from_shadow_to_live_and_back(scene: Scene) -> None:
    running, acme, globex = scene.running, scene.acme, scene.globex

    scene.stage("shadow")
    scene.taken_up("shadow")

    def counted() -> dict[str, Any] | None:
        assert scene.says(acme) == (200, "")  # whatever it would decide
        time.sleep(0.2)  # each look is a call, and so a record
        return next((r for r in running.records(0, "policy.shadow") if r["compared"]), None)

    found = wait_for(counted, PATIENCE)
    assert (found["rollout"], found["revision"], found["scope"]) == (scene.rollout, scene.revision, "")
    (refused,) = [each for each in found["differences"] if each["kind"] == "refused"]
    assert refused["rules"] == [{"rule": "grants.route", "count": refused["count"]}]
    assert running.of_call(refused["calls"][0])[0]["kind"] == "call.intent"
    (shown,) = scene.does("bundles")
    assert shown["shadow"]["kinds"]["refused"] >= 1

    scene.does("approve", scene.rollout)
    scene.stage("canary", "--tenants", "acme")
    assert scene.says(acme) == (403, "grants.route")  # at once: the record is committed
    assert scene.says(globex) == (200, "")
    running.restarted("gateway-0", running.kill("gateway-0"))
    wait_for(lambda: reachable(scene), PATIENCE)
    assert scene.says(acme) == (403, "grants.route")
    assert scene.says(globex) == (200, "")

    configured = running.until("policy.loaded", 0)["revision"]
    scene.stage("live")
    assert scene.says(globex) == (403, "grants.route")
    last = running.records(0, "call.refused")[-1]
    assert last["policy"] == scene.revision
    told = running.cli_at_fault("policy", "explain", "--index", str(last["index"]))
    assert (told["revision"], told["notes"]) == (scene.revision, [])  # the bundle that decided, not the configured one

    scene.does("back")
    assert scene.says(acme) == scene.says(globex) == (200, "")
    intent = running.records(0, "call.intent")[-1]
    assert intent["policy"] == configured


def reachable(scene: Scene) -> bool:
    try:
        return scene.says(scene.globex)[0] != 0
    except httpx.TransportError:
        return False


def test_a_change_of_the_configured_bundle_takes_the_place_of_a_live_one(scene: Scene) -> None:
    scene.does("approve", scene.rollout)
    scene.stage("live")
    assert scene.says(scene.acme) == (403, "grants.route")
    with open(scene.configured / "request.rego", "a") as module:
        module.write("\n# changed\n")
    loaded = scene.running.until("policy.loaded", 0, PATIENCE, supersedes=scene.rollout)
    assert scene.says(scene.acme) == (200, "")
    assert scene.running.records(0, "call.intent")[-1]["policy"] == loaded["revision"]
    scene.does("back")


def test_a_bundle_that_is_gone_refuses_what_it_should_decide(scene: Scene) -> None:
    running = scene.running
    scene.does("approve", scene.rollout)
    with store(running) as side:
        assert side.drop_bundles((), 1 << 60) == 1
    start = running.log.size()
    running.restarted("gateway-0", running.kill("gateway-0"))
    wait_for(lambda: reachable(scene), PATIENCE)
    scene.stage("live")
    assert scene.says(scene.acme) == (503, "bundle_unavailable")
    told = running.until("policy.rejected", start, PATIENCE, rollout=scene.rollout)
    assert "not in the bundle store" in told["problems"][0]
    scene.does("back")
    assert scene.says(scene.acme) == (200, "")
