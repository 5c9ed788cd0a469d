"""`cordon policy replay` of calls that two bundles decided: which bundle stays is found by its revision."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from cordon.commands.common import the_log
from cordon.config import load
from lineage.keys import load_master_key
from lineage.side import TenantKeys, blob_digest, seal
from lineage.side_place import SidePlace
from policies.bundle import load_bundle
from tests.support.cli import Installation
from tests.support.policies import MINIMAL, write
from tests.support.records import intent, record

OWN = MINIMAL | {"request.rego": 'package cordon.request\n\ndecision := {"allow": true, "endpoints": ["eu"]}\n'}
NARROW = MINIMAL | {
    "request.rego": "package cordon.request\n\n"
    'decision := {"allow": input.tenant.id != "acme", "reasons": [{"rule": "nobody", "detail": ""}]}\n'
}


class Past:
    """An installation whose log has one call of acme's, decided by the configured bundle and one of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = Installation(folder).file.read_text()
        self.cordon = Installation(folder, text.replace(text.split("\n")[1], "policy: {bundle: common}"))
        self.common = load_bundle(write(folder / "common")).revision
        result = self.cordon("policy", "propose", str(write(folder / "own", OWN)), "--tenant", "acme", "--json")
        assert result.code == 0, result.err
        self.own, self.rollout = result.json["revision"], result.json["rollout"]
        config = load(self.cordon.file)
        with closing(SidePlace(config.data_dir, "").side()) as side:
            keys = TenantKeys(side, load_master_key(config.data_dir))
            blob = seal(keys.get("acme"), "acme", b'{"tenant": {"id": "acme"}}')
            side.save([(1, blob)])
            keys.close()
        now = time.time_ns() // 1_000_000
        with the_log(config) as log:
            for revision in (self.common, self.own):
                log.append(record("policy.loaded", now, facts={"revision": revision, "reads": ["tenant.id"]}))
            both = {"policy": self.common, "tenant_policy": self.own, "endpoint": "eu", "route": "crm"}
            log.append(intent(now, side=blob_digest(blob), **both))

    def replay(self, bundle: Path, *options: str) -> dict[str, object]:
        result = self.cordon("policy", "replay", str(bundle), "--json", *options)
        assert result.code == 0, result.err
        return dict(result.json)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return Past(tmp_path_factory.mktemp("replay"))


def test_a_candidate_for_the_common_bundle_is_tried_with_the_tenant_s_own(past: Past, tmp_path: Path) -> None:
    same = past.replay(past.folder / "common")
    assert (same["replayed"], same["changed"], same["not_replayed"]) == (1, 0, {})
    found = past.replay(write(tmp_path / "narrow", NARROW))
    assert (found["replayed"], found["differences"]["refused"]["by_rule"]) == (1, {"nobody": 1})  # type: ignore[index]


def test_a_candidate_for_a_tenant_is_tried_with_the_common_one(past: Past, tmp_path: Path) -> None:
    found = past.replay(write(tmp_path / "narrow", NARROW), "--own", "--tenant", "acme")
    assert (found["replayed"], found["differences"]["refused"]["by_rule"]) == (1, {"tenant:nobody": 1})  # type: ignore[index]
    assert past.replay(past.folder / "own", "--own", "--tenant", "acme")["changed"] == 0
    assert past.replay(past.folder / "own", "--own", "--tenant", "globex")["calls"] == 0
    assert past.cordon("policy", "replay", str(past.folder / "own"), "--own").code == 2


def test_a_call_whose_other_bundle_is_gone_is_counted_with_its_revision(tmp_path: Path) -> None:
    past = Past(tmp_path)
    write(tmp_path / "common", {"request.rego": MINIMAL["request.rego"] + "\n# otherwise\n"})
    told = past.replay(tmp_path / "own", "--own", "--tenant", "acme")["not_replayed"]
    ends = "is neither configured nor rolled out any more"
    assert told == {f"the common bundle that decided it ({past.common}) {ends}": 1}
    past.cordon("policy", "withdraw", past.rollout)
    told = past.replay(tmp_path / "common")["not_replayed"]
    assert told == {f"the tenant's own bundle that decided it ({past.own}) {ends}": 1}
