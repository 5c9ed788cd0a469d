"""A bundle that is rolled out brings its masks with it: what it decided goes out as it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from lineage.bundles import BundleStore
from lineage.control import ControlState
from lineage.side_place import SidePlace
from lineage.store import Change
from policies.tarball import pack
from tests.support import records
from tests.support.decision_logs import LONG_AGO, World
from tests.support.policies import MINIMAL, bundle

HEAD = "package system.log\n\nimport rego.v1\n\n"
CONFIGURED = MINIMAL | {"log.rego": HEAD + 'mask contains "/input/tenant" if input.input.tenant.id == "acme"\n'}
ROLLED_OUT = MINIMAL | {"log.rego": HEAD + 'mask contains "/input/name" if input.input.tenant.id == "acme"\n'}
REVISION = bundle(ROLLED_OUT).revision
INPUT = {"tenant": {"id": "acme"}, "name": "Ann", "call": {"method": "POST"}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, CONFIGURED)
    yield made
    made.close()


def roll_out(world: World, files: dict[str, str]) -> None:
    """Propose a bundle of these files."""
    with closing(SidePlace(world.data_dir).side()) as side:
        digest = BundleStore(side).put(pack({path: text.encode() for path, text in files.items()}))
    facts = {"rollout": "rollout_1", "digest": digest, "revision": bundle(files).revision, "by": "ann"}
    record = records.record("policy.proposed", LONG_AGO, "cli-1", facts)
    first, before = world.log.store.size(), ControlState()
    after = before.fold(orjson.loads(record), first)
    world.log.store.append(first, [record], Change(after.changes(before), before.epoch, after.epoch - first))


def decided_by(world: World, **facts: Any) -> dict[str, Any]:
    """The event of a call that was decided by other bundles than the configured one."""
    world.log.put(records.intent(LONG_AGO, side=world.keep(INPUT), **facts))
    return world.events()[-1]


@pytest.mark.parametrize("field", ["policy", "tenant_policy"])
def test_the_masks_of_the_bundle_that_decided_count_beside_the_configured_one_s(world: World, field: str) -> None:
    """Each is asked about the event as it was: the configured mask takes away what the other one looks for."""
    roll_out(world, ROLLED_OUT)
    event = decided_by(world, **{field: REVISION})
    assert event["input"] == {"call": {"method": "POST"}}
    assert sorted(event["erased"]) == ["/input/name", "/input/tenant"]
    assert decided_by(world)["erased"] == ["/input/tenant"]


def test_of_a_bundle_that_is_gone_or_altered_nothing_goes_out(world: World) -> None:
    roll_out(world, ROLLED_OUT)
    with closing(SidePlace(world.data_dir).side()) as side:
        assert side.drop_bundles(set(), 1 << 62) == 1
    event = decided_by(world, policy=REVISION)
    assert not {"input", "result"} & event.keys()
    assert {"/input", "/result"} <= set(event["erased"])


def test_a_bundle_that_was_never_rolled_out_is_masked_as_the_configured_one_says(world: World) -> None:
    roll_out(world, ROLLED_OUT)
    assert decided_by(world, policy="f" * 16)["erased"] == ["/input/tenant"]
