"""The bundle that decides a call is the one that the control state means, or the call is refused."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.rollouts import Rollout
from policies import rollouts
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import BundleUnavailable
from policies.rollouts import TAKEN_UP, Rollouts
from policies.settings import Policy
from policies.watched import Watched
from tests.support.policies import bundle
from tests.support.rollouts import Archives, request, state

NO = request('{"allow": false, "reasons": [{"rule": "new", "detail": "no"}]}')
YES = request('{"allow": true, "labels": {"by": "new"}}')
OWN = request('{"allow": input.name != "bob", "redact": {"email": "drop"}}')


class Configured:
    """The configured bundle: allows everything."""

    def __init__(self) -> None:
        self.engine = EmbeddedEngine(bundle(), Policy())


class World:
    """Roll-outs beside a configured bundle, and what was told."""

    def __init__(self, run_dir: Path, settings: Policy) -> None:
        self.archives = Archives()
        self.base = Configured()
        self.meter = Meter("test")
        self.loaded: list[tuple[str, str]] = []
        self.rejected: list[tuple[str, str]] = []
        self.rollouts = Rollouts(
            self.base,
            settings,
            run_dir,
            self.archives.get,
            self.meter,
            on_loaded=lambda rollout, _: self.loaded.append((rollout.id, rollout.stage)),
            on_rejected=lambda rollout, problems: self.rejected.append((rollout.id, next(iter(problems)).code)),
        )

    async def follow(self, *wanted: Rollout) -> None:
        self.rollouts.follow(state(*wanted))
        await self.rollouts.settled(TAKEN_UP)

    async def revisions(self, tenant: str = "acme", call: str = "c") -> tuple[str, str]:
        engine = await self.rollouts.choose(tenant, call)
        return engine.revision, engine.tenant_revision

    async def allows(self, tenant: str, document: bytes = b"{}") -> bool:
        engine = await self.rollouts.choose(tenant, "c")
        return (await engine.decide(Moment.REQUEST, document)).allow

    @property
    def configured(self) -> str:
        return self.base.engine.revision


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that each bundle is examined once for all tests."""
    return tmp_path_factory.mktemp("run")


@contextlib.asynccontextmanager
async def world(run_dir: Path, settings: Policy) -> AsyncIterator[World]:
    found = World(run_dir, settings)
    try:
        yield found
    finally:
        found.rollouts.close()
        del found.base.engine


def play(run_dir: Path, scene: Callable[[World], Awaitable[None]], **settings: object) -> None:
    async def run() -> None:
        async with world(run_dir, Policy.model_validate(settings)) as found:
            await scene(found)

    asyncio.run(run())


def test_from_shadow_to_live_and_back(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        new = world.archives.add(request=NO)
        stages = {"share": 0, "tenants": ("acme",), "base": world.configured}
        assert await world.revisions() == (world.configured, "")
        await world.follow(with_(new, stage="draft", approved_by=""))
        assert await world.revisions() == (world.configured, "")
        await world.follow(with_(new, stage="shadow"))
        engine = await world.rollouts.choose("acme", "c")
        assert isinstance(engine, Watched)
        assert (await engine.decide(Moment.REQUEST, b"{}")).allow
        await world.follow(with_(new, stage="canary", **stages))
        assert await world.revisions("acme") == (new.revision, "")
        assert await world.revisions("globex") == (world.configured, "")
        await world.follow(with_(new, stage="live", base=world.configured))
        assert await world.revisions("globex") == (new.revision, "")
        assert not await world.allows("globex")
        await world.follow(with_(new, stage="draft"))
        assert await world.allows("globex")
        assert world.loaded == [("rollout_1", "shadow"), ("rollout_1", "canary"), ("rollout_1", "live")]
        counted = world.meter.counter
        assert counted("cordon_policy_decided_calls_total", "common", "canary").value == 1
        assert counted("cordon_policy_decided_calls_total", "common", "live").value == 2

    play(run_dir, scene)


def with_(rollout: Rollout, **parts: object) -> Rollout:
    return replace(rollout, **parts)  # type: ignore[arg-type]


def test_a_canary_goes_before_the_live_one_for_its_share(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        live = world.archives.add("live", YES, base=world.configured)
        canary = world.archives.add("canary", NO, stage="canary", share=500)
        await world.follow(live, canary)
        found = [(await world.revisions(call=f"call-{number}"))[0] for number in range(200)]
        assert {*found} == {live.revision, canary.revision}
        assert 60 < found.count(canary.revision) < 140

    play(run_dir, scene)


def test_a_tenants_own_bundle_decides_beside_the_common_one(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        own = world.archives.add("own", OWN, scope="acme")
        await world.follow(own)
        assert await world.revisions("acme") == (world.configured, own.revision)
        assert await world.revisions("globex") == (world.configured, "")
        assert await world.allows("acme", b'{"name": "ann"}')
        assert not await world.allows("acme", b'{"name": "bob"}')
        assert await world.allows("globex", b'{"name": "bob"}')
        common = world.archives.add("common", NO, base=world.configured)
        await world.follow(own, common)
        assert await world.revisions("acme") == (common.revision, own.revision)
        assert not await world.allows("acme")

    play(run_dir, scene)


def test_an_engine_that_was_replaced_is_not_held_on_to(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        await world.follow(world.archives.add("own", OWN, scope="acme"))
        old = []
        for number in range(5):
            await world.rollouts.choose("acme", "c")
            old.append(world.base.engine)
            changed = bundle(request=request(f'{{"allow": true, "labels": {{"n": "{number}"}}}}'))
            world.base.engine = EmbeddedEngine(changed, Policy())
        await world.rollouts.choose("acme", "c")
        assert not [mix for mix in world.rollouts._mixes if mix[0] in old]

    play(run_dir, scene)


def test_a_changed_folder_takes_the_place_of_a_live_roll_out(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        new = world.archives.add(request=NO, base=world.configured)
        await world.follow(new)
        assert world.rollouts.superseded(world.configured) is None
        assert not await world.allows("acme")
        world.base.engine = EmbeddedEngine(bundle(request=YES), Policy())
        assert world.rollouts.superseded(world.configured) == new
        assert await world.revisions() == (world.configured, "")

    play(run_dir, scene)


def test_it_does_not_where_changes_are_rolled_out(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        new = world.archives.add(request=NO, base=world.configured)
        await world.follow(new)
        world.base.engine = EmbeddedEngine(bundle(request=YES), Policy())
        assert world.rollouts.superseded(world.configured) is None
        assert await world.revisions() == (new.revision, "")

    play(run_dir, scene, changes="rollout")


@pytest.mark.parametrize("stage", ["canary", "live"])
@pytest.mark.parametrize("scope", ["", "acme"])
def test_without_its_bundle_the_calls_that_it_decides_are_refused(run_dir: Path, stage: str, scope: str) -> None:
    async def scene(world: World) -> None:
        parts = {"stage": stage, "scope": scope, "tenants": ("acme",), "base": world.configured}
        await world.follow(with_(world.archives.add(request=NO, **parts), digest="f" * 64))
        with pytest.raises(BundleUnavailable, match=f"{stage}.*not in the bundle store"):
            await world.rollouts.choose("acme", "c")
        if scope or stage == "canary":
            assert await world.allows("globex")
        assert world.rejected == [("rollout_1", "missing")]
        assert world.loaded == []

    play(run_dir, scene)


def test_one_that_is_only_in_shadow_is_left_out(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        await world.follow(with_(world.archives.add(request=NO, stage="shadow"), digest="f" * 64))
        assert await world.allows("acme")
        assert world.meter.gauge("cordon_policy_rollouts_missing").value == 1

    play(run_dir, scene)


@pytest.mark.parametrize(
    ("archive", "code"), [(b"", "archive"), (b"junk", "archive"), (None, "missing"), ("another", "revision")]
)
def test_an_altered_archive_is_not_taken_up(run_dir: Path, archive: bytes | str | None, code: str) -> None:
    async def scene(world: World) -> None:
        new = world.archives.add(request=NO, base=world.configured)
        if archive == "another":
            world.archives[new.digest] = world.archives[world.archives.add("other", YES).digest]
        elif isinstance(archive, bytes):
            world.archives[new.digest] = archive
        else:
            del world.archives[new.digest]
        await world.follow(new)
        with pytest.raises(BundleUnavailable):
            await world.rollouts.choose("acme", "c")
        assert world.rejected == [("rollout_1", code)]

    play(run_dir, scene)


def test_one_that_admission_refuses_is_not_taken_up(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        await world.follow(world.archives.add(request=request("http.send({})"), base=world.configured))
        with pytest.raises(BundleUnavailable):
            await world.rollouts.choose("acme", "c")
        assert world.rejected == [("rollout_1", "builtin")]

    play(run_dir, scene)


def test_calls_wait_for_a_bundle_that_is_being_taken_up_and_go_on_when_it_comes(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts, "RETRY_SECONDS", (0.0,))

    async def scene(world: World) -> None:
        new = world.archives.add(request=NO, base=world.configured)
        world.rollouts.follow(state(new))
        assert not await world.allows("acme")  # waited, and neither refused nor was decided by the one before
        archive = world.archives.pop(new.digest)
        again = with_(new, id="rollout_2")
        await world.follow(again)
        with pytest.raises(BundleUnavailable):
            await world.rollouts.choose("acme", "c")
        world.archives[new.digest] = archive
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(BundleUnavailable):
                    assert not await world.allows("acme")
                    break
                await asyncio.sleep(0.005)
        assert ("rollout_2", "live") in world.loaded
        assert world.rejected == [("rollout_2", "missing")]

    play(run_dir, scene)


def test_calls_that_wait_for_a_bundle_that_is_left_are_decided_by_the_one_before(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        world.rollouts.follow(state(world.archives.add(request=NO, base=world.configured)))
        waiting = asyncio.ensure_future(world.allows("acme"))
        await asyncio.sleep(0)
        assert not waiting.done()
        world.rollouts.follow(state())
        assert await waiting

    play(run_dir, scene)


def test_a_bundle_that_does_not_come_refuses_in_the_end(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "WAIT_SECONDS", 0.01)

    async def scene(world: World) -> None:
        slow = threading.Event()
        world.rollouts._fetch = lambda _: b"" if slow.wait(30) else None
        world.rollouts.follow(state(world.archives.add(request=NO, base=world.configured)))
        with pytest.raises(BundleUnavailable, match="still being taken up"):
            await world.rollouts.choose("acme", "c")
        slow.set()

    play(run_dir, scene)


def test_a_store_that_fails_is_no_bundle(run_dir: Path) -> None:
    async def scene(world: World) -> None:
        def fetch(_digest: str) -> bytes | None:
            raise LogUnavailable("the database does not answer")

        world.rollouts._fetch = fetch
        await world.follow(world.archives.add(request=NO, base=world.configured))
        with pytest.raises(BundleUnavailable, match="does not answer"):
            await world.rollouts.choose("acme", "c")

    play(run_dir, scene)
