"""Masks of bundles that only an OPA server can evaluate, as a real one evaluates them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from policies.bundle import load_bundle
from policies.opa.wire import ServerError
from policies.settings import Policy
from siem.decision_logs.rules import RulesInForce
from siem.decision_logs.running import open_source
from siem.decision_logs.server_rules import ServerRules
from tests.support import records
from tests.support.collector import collecting
from tests.support.decision_logs import World, until
from tests.support.gateway import free_ports
from tests.support.opa import OpaServer, opa_server, push
from tests.support.policies import MINIMAL, write
from tests.unit.siem.decision_logs.test_rules import BROKEN, FORMS, HEAD, event

OPA_ONLY = MINIMAL | {"more.rego": 'package more\n\nx := http.send({"method": "get", "url": "http://127.0.0.1:1"})\n'}
MASKS = {"log.rego": HEAD + 'mask contains "/input/a"\n\ndrop if input.input.b\n'}


@pytest.fixture(scope="module")
def opa() -> Iterator[OpaServer]:
    with opa_server() as running:
        yield running


class Place:
    """A folder whose bundle is pushed to the server, and what the SOC process makes of it."""

    def __init__(self, directory: Path, opa: OpaServer, **settings: Any) -> None:
        self.folder = directory / "bundle"
        self.run = directory / "run"
        self.settings = Policy(engine="opa", url=opa.url, bundle=self.folder, reload_seconds=0.001, **settings)

    def push(self, files: Mapping[str, str], *, keep: bool = False) -> str:
        """Have the server hold these files, and with `keep` the folder too; their revision."""
        place = write(self.folder if keep else self.folder.with_name(f"other-{len(files)}"), files)
        asyncio.run(push(self.settings.model_copy(update={"bundle": place})))
        return load_bundle(place).revision

    def rules(self, *, looked: bool = False) -> RulesInForce:
        """The rules in force; unless `looked`, without having the bundle examined, which takes a process."""
        rules = RulesInForce(self.settings, self.run)
        if looked:
            rules.refresh()
        elif not rules._served:
            assert rules._asker is not None
            rules._rules = ServerRules(self.settings, rules._asker, load_bundle(self.folder))
        return rules


@pytest.fixture
def place(tmp_path: Path, opa: OpaServer) -> Place:
    return Place(tmp_path, opa)


def decided(revision: str, **input: object) -> dict[str, Any]:
    return event(**input) | {"bundles": {"cordon": {"revision": revision}}}


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"data"}))  # a pushed bundle cannot have data.system
def test_what_opa_alone_can_evaluate_is_masked_and_dropped_as_opa_says(place: Place, form: str) -> None:
    place.push(OPA_ONLY | FORMS[form], keep=True)
    with closing(place.rules(looked=form == "partial set")) as rules:
        for _ in range(2):
            found = event(a=1, b=False)
            assert rules.apply(found) == (False, True)
            assert found["input"] == {"b": False} and found["erased"] == ["/input/a"]
        assert rules.apply(event(a=1, b=True)) == (True, False)


@pytest.mark.parametrize("what", BROKEN)
def test_a_mask_that_cannot_be_known_erases_and_a_drop_drops_nothing(place: Place, what: str) -> None:
    place.push(OPA_ONLY | {"log.rego": HEAD + BROKEN[what]}, keep=True)
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    found = event(a="secret", zero=0, **({"deep": deep} if "json" in what else {}))
    with closing(place.rules()) as rules:
        assert rules.apply(found) == (False, True)
    assert found == {"decision_id": "1", "erased": ["/input", "/result"]}


def test_another_ones_bundle_masks_nothing_of_ours(place: Place) -> None:
    """A server that was given a bundle without masks must not open what ours hides."""
    write(place.folder, OPA_ONLY | MASKS)
    place.push(OPA_ONLY)
    found = event(a="secret")
    with closing(place.rules()) as rules:
        assert rules.apply(found) == (False, True)
        assert found == {"decision_id": "1", "erased": ["/input", "/result"]}


def test_the_bundle_that_decided_masks_too_where_its_successor_was_refused(place: Place) -> None:
    revision = place.push(OPA_ONLY | MASKS)
    write(place.folder, OPA_ONLY | {"request.rego": "package cordon.request\n\ndecision := {\n"})
    found = decided(revision, a="secret", c=1)
    with closing(place.rules(looked=True)) as rules:
        assert rules.apply(found) == (False, True)
        assert found["input"] == {"c": 1}


def test_a_server_without_the_bundle_or_without_an_answer_holds_events_up(place: Place, tmp_path: Path) -> None:
    write(place.folder, OPA_ONLY | MASKS)
    with opa_server() as empty:
        place.settings = place.settings.model_copy(update={"url": empty.url})
        with closing(place.rules()) as rules:
            with pytest.raises(ServerError, match="does not hold the bundle"):
                rules.apply(event(a=1))
            place.push(OPA_ONLY | MASKS)
            assert rules.apply(event(a=1)) == (False, True)
            empty.kill()
            with pytest.raises(ServerError):
                rules.apply(event(a=1))
            empty.start()
            place.push(OPA_ONLY | MASKS)
            assert rules.apply(event(a=1)) == (False, True), "and it goes on over a new connection"


def test_a_bundle_that_says_nothing_of_logs_needs_no_server(place: Place) -> None:
    write(place.folder, OPA_ONLY)
    revision = load_bundle(place.folder).revision
    place.settings = place.settings.model_copy(update={"url": f"http://127.0.0.1:{free_ports(1)[0]}"})
    with closing(place.rules(looked=True)) as rules:
        assert rules.apply(decided(revision, a=1)) == (False, False)
        with pytest.raises(ServerError):
            rules.apply(decided("another", a=1))


def test_a_bundle_from_a_server_is_masked_as_the_opa_server_says_where_it_decided(
    tmp_path: Path, opa: OpaServer
) -> None:
    place = Place(tmp_path, opa)
    revision = place.push(OPA_ONLY | MASKS)
    place.settings = place.settings.model_copy(update={"bundle": "https://bundles.example/bundle.tar.gz"})
    with closing(place.rules()) as rules:
        found = decided(revision, a="secret", c=1)
        assert rules.apply(found) == (False, True) and found["input"] == {"c": 1}
        other = decided("of yesterday", a="secret")
        assert rules.apply(other) == (False, True) and "input" not in other


def _own_bundle(directory: Path, files: Mapping[str, str]) -> str:
    write(directory, files | {".manifest": '{"revision": "r9", "roots": ["cordon", "system", "more"]}'})
    return str(directory)


def test_the_masks_of_a_bundle_that_opa_has_from_elsewhere_are_its_own(tmp_path: Path) -> None:
    with opa_server("--bundle", _own_bundle(tmp_path / "own", OPA_ONLY | MASKS)) as opa:
        place = Place(tmp_path, opa, push=False)
        with closing(place.rules()) as rules:
            found = event(a="secret", c=1)
            assert rules.apply(found) == (False, True) and found["input"] == {"c": 1}
            assert rules.apply(event(a=1, b=True)) == (True, False)


def test_a_server_with_no_bundle_of_its_own_is_not_believed(opa: OpaServer, tmp_path: Path) -> None:
    httpx.put(f"{opa.url}/v1/policies/stray", content="package stray\n\nx := 1\n").raise_for_status()
    place = Place(tmp_path, opa, push=False)
    with closing(place.rules()) as rules, pytest.raises(ServerError, match="no bundle"):
        rules.apply(event(a="secret"))


def test_a_server_that_refuses_cordon_lets_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authz = {"authz.rego": 'package system.authz\n\ndefault allow := false\n\nallow if input.identity == "let-me-in"\n'}
    own = _own_bundle(tmp_path / "own", OPA_ONLY | MASKS | authz)
    with opa_server("--authentication=token", "--authorization=basic", "--bundle", own) as opa:
        place = Place(tmp_path, opa, push=False, credential="env:CORDON_TEST_OPA")
        with closing(place.rules()) as rules:
            for token in ("", "wrong"):
                monkeypatch.setenv("CORDON_TEST_OPA", token)
                found = event(a="secret")
                assert rules.apply(found) == (False, True) and "input" not in found
            monkeypatch.setenv("CORDON_TEST_OPA", "let-me-in")
            found = event(a="secret", c=1)
            assert rules.apply(found) == (False, True) and found["input"] == {"c": 1}, "a renewed token is taken up"


def test_one_event_that_the_server_comes_to_no_end_with_does_not_hold_up_the_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.policy_server.SECONDS", 2.0)
    endless = "mask contains x if {\n\tsome a in numbers.range(1, input.input.n)\n"
    endless += '\tsome b in numbers.range(1, input.input.n)\n\ta + b < 0\n\tx := "/input/n"\n}\n'
    place.push(OPA_ONLY | {"log.rego": HEAD + endless}, keep=True)
    with closing(place.rules()) as rules:
        found = event(n=1_000_000, a="secret")
        assert rules.apply(found) == (False, True)
        assert found == {"decision_id": "1", "erased": ["/input", "/result"]}
        assert rules.apply(event(n=1)) == (False, False)


def test_what_comes_before_an_event_that_has_to_wait_goes_out(tmp_path: Path) -> None:
    with closing(World(tmp_path)) as world:
        world.log.put(records.record("process.started", 1))
        world.decide({"a": 1})
        world.policy = Policy(engine="opa", url=f"http://127.0.0.1:{free_ports(1)[0]}", push=False)
        with closing(open_source(world.data_dir, "", world.policy)) as source:
            assert source.batch(0).next == 1
            with pytest.raises(ServerError):
                source.batch(1)


def test_events_wait_for_the_server_and_then_go_out_masked(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.decide({"a": "secret", "c": 1})
        async with world.delivering(url=collector.url):
            await until(lambda: world.said() == [("lost", "policy")])
            assert collector.events == []
            assert world.count("lag_records", "siem") >= 1 and world.count("lag_seconds", "siem") > 1_000_000
            server.start()
            await until(lambda: collector.events and world.count("lag_seconds", "siem") == 0)
        assert [each["input"] for each in collector.events] == [{"c": 1}]
        await until(lambda: world.said()[-1] == ("back", ""))

    server = OpaServer("--bundle", _own_bundle(tmp_path / "own", OPA_ONLY | MASKS))
    with closing(World(tmp_path)) as world, collecting() as collector:
        world.policy = Policy(engine="opa", url=server.url, push=False)
        try:
            asyncio.run(scene(world))
        finally:
            server.kill()
