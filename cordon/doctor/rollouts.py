"""Roll-outs of policy bundles: what is live, and whether the configured bundle is another one than it was put over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from cordon.bundles import read_bundle
from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok, warn
from lineage.bundles import BundleStore
from lineage.place import LogPlace
from lineage.reader import open_reader
from lineage.rollouts import Rollout
from lineage.side_place import SidePlace


def examine_rollouts(config: Config) -> Iterator[Finding]:
    """What decides calls, or is tried on them, beside the configured bundle; nothing where nothing is rolled out."""
    if not LogPlace(config.data_dir, config.database).exists():
        return
    with closing(open_reader(config.data_dir, config.database)) as reader:
        used = [each for each in reader.control().rollouts.values() if each.stage in ("shadow", "canary", "live")]
    if not used:
        return
    with closing(SidePlace(config.data_dir, config.database).side()) as side:
        store = BundleStore(side)
        for each in sorted(used, key=lambda each: (each.scope, each.stage)):
            whose = f"of tenant {each.scope}" if each.scope else "of all"
            if store.get(each.digest) is None:
                text = f"the bundle of {each.id}, which is in {each.stage}, is not in the store: it cannot decide"
                yield fail("roll-out", text, "go back (cordon policy back), and propose it again")
            else:
                yield ok("roll-out", f"{each.id} (revision {each.revision}) is in {each.stage} for the calls {whose}")
    yield from _beside(config, next((each for each in used if not each.scope and each.stage == "live"), None))


def _beside(config: Config, live: Rollout | None) -> Iterator[Finding]:
    """Whether the folder was changed after the roll-out went live."""
    if live is None or config.policy.engine == "opa":
        return
    revision = read_bundle(config.policy).revision
    if revision == live.base:
        return
    if config.policy.changes == "apply":
        yield ok("roll-out", f"the configured bundle was changed after {live.id} went live, and has taken its place")
        return
    text = f"the configured bundle is another one ({revision}) than when {live.id} went live, and does not decide"
    yield warn("roll-out", text, "propose it, or bring it back to what it was; policy.changes is rollout")
