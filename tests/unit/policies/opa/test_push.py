"""A bundle is in a server whole or not at all, whatever is wrong with it and whoever else pushes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
from pathlib import Path

import httpx
import pytest

from policies.admission import admit_now
from policies.bundle import load_bundle, read_all
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import BundleError, PolicyError
from policies.result import RequestDecision
from policies.settings import Verification
from policies.signatures import SIGNATURES, sign
from tests.support.bundles import write_keys
from tests.support.opa import asking, bundle_folder, opa_server
from tests.support.policies import MINIMAL, SETTINGS, STARTER, answer_document, ask, ask_answer, request_document, write

DENIES = 'package cordon.request\n\ndecision := {"allow": false}\n'
BROKEN = "package cordon.request\n\ndecision := {\n"
LIBRARY = {
    **MINIMAL,
    "request.rego": 'package cordon.request\n\ndecision := {"allow": data.lib.fine(input.n, data.known)}\n',
    "zlib.rego": "package lib\n\nfine(n, known) if n in known\n",
    "data.json": '{"known": [1, 2]}',
}


def test_the_server_holds_the_bundle_and_nothing_of_its_tests(tmp_path: Path) -> None:
    async def scene() -> None:
        folder = write(tmp_path / "bundle", {**LIBRARY, "request_test.rego": "package t\n\ntest_a if true\n"})
        with opa_server() as opa:
            async with asking(opa.url, folder, tmp_path / "run", watch=False) as asked:
                assert await asked.allows(b'{"n": 1}')
                assert not await asked.allows(b'{"n": 3}')
                assert set(opa.modules()) == {
                    "cordon/request.rego", "cordon/response.rego", "cordon/zlib.rego", "cordon-gateway"
                }  # fmt: skip
                assert opa.data("known") == [1, 2]
                assert opa.data("cordon_gateway_lock") is None

    asyncio.run(scene())


def test_a_change_is_taken_up_with_all_that_it_adds_and_takes_away(tmp_path: Path) -> None:
    """Signatures of functions change with their callers, which OPA would refuse one at a time."""

    async def scene() -> None:
        folder = write(tmp_path / "bundle", LIBRARY)
        with opa_server() as opa:
            async with asking(opa.url, folder, tmp_path / "run") as asked:
                assert await asked.allows(b'{"n": 1}')
                shutil.rmtree(folder)
                request = LIBRARY["request.rego"].replace(", data.known", "")
                library = "package lib\n\nfine(n) if n == 3\n"
                write(folder, {**MINIMAL, "request.rego": request, "zlib.rego": library, "data.json": '{"other": 1}'})
                await asked.until(lambda: len(asked.loaded) == 2)
                assert await asked.allows(b'{"n": 3}')
                assert (opa.data("known"), opa.data("other")) == (None, 1)

    asyncio.run(scene())


def test_no_call_is_refused_or_wrongly_decided_while_a_bundle_is_changed(tmp_path: Path) -> None:
    async def scene() -> None:
        folder = write(tmp_path / "bundle", LIBRARY)
        with opa_server() as opa:
            async with asking(opa.url, folder, tmp_path / "run", deadline_ms=20_000) as asked:
                stop = asyncio.Event()
                asked_for = 0

                async def call() -> None:
                    nonlocal asked_for
                    while not stop.is_set():
                        assert await asked.allows(b'{"n": 1}')
                        assert not await asked.allows(b'{"n": 9}')
                        asked_for += 1

                calls = [asyncio.create_task(call()) for _ in range(4)]
                for turn in range(3):
                    text = LIBRARY["zlib.rego"] + f"# {turn}\n"
                    (folder / "zlib.rego").write_text(text)
                    await asked.until(lambda turn=turn: len(asked.loaded) == turn + 2)  # type: ignore[misc]
                stop.set()
                await asyncio.gather(*calls)
                assert asked_for > 10
                assert asked.errors("empty") == asked.errors("timeout") == 0

    asyncio.run(scene())


def test_a_refused_change_leaves_the_bundle_before_with_its_data(tmp_path: Path) -> None:
    async def scene() -> None:
        folder = write(tmp_path / "bundle", LIBRARY)
        with opa_server() as opa:
            async with asking(opa.url, folder, tmp_path / "run") as asked:
                before = opa.modules()
                write(folder, {"request.rego": BROKEN, "data.json": '{"new": {}}'})
                await asked.until(lambda: len(asked.rejected) == 1)
                assert asked.rejected[0][0].file == "request.rego"
                assert await asked.allows(b'{"n": 1}')
                assert (opa.modules(), opa.data("known"), opa.data("new")) == (before, [1, 2], None)
                # A worker that starts beside it goes on with the one before, and nobody tries again.
                async with asking(opa.url, folder, tmp_path / "run") as second:
                    assert await second.allows(b'{"n": 1}')
                    assert second.rejected[0] == asked.rejected[0]
                assert len(asked.rejected) == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"request.rego": "package cordon.request\n\na := 1\n"}, "there is no rule data.cordon.request.decision"),
        ({"more/data.json": "{}", "data.json": '{"cordon_gateway": 1}'}, "a name that a bundle cannot have"),
        ({"data.json": '{"system": {"authz": 1}}'}, "a name that a bundle cannot have"),
        ({"x.rego": "package system.authz\n\nallow := true\n"}, "a package that a bundle cannot have"),
        ({"x.rego": 'package\n system["authz"]\n\nallow := true\n'}, "a package that a bundle cannot have"),
        ({"x.rego": "package cordon_gateway.about\n\nmark := 1\n"}, "a package that a bundle cannot have"),
        ({"x.rego": "package x\n\na := http.sned({})\n"}, "undefined function http.sned"),
        ({"data.json": '{"theirs": 1}'}, "data or rules of others at data.theirs"),
    ],
)  # fmt: skip
def test_what_a_server_cannot_take_is_refused_with_the_reason(tmp_path: Path, files: dict[str, str], told: str) -> None:
    async def scene() -> None:
        folder = write(tmp_path / "bundle", MINIMAL | files)
        with opa_server() as opa:
            httpx.put(f"{opa.url}/v1/data/theirs", json={"their": "data"})
            with pytest.raises(BundleError, match=told):
                async with asking(opa.url, folder, tmp_path / "run"):
                    pass
            assert opa.data("theirs") == {"their": "data"}
            assert opa.modules() == {}

    asyncio.run(scene())


def test_rules_of_others_in_the_bundles_packages_are_an_error(tmp_path: Path) -> None:
    """They could allow what the bundle does not."""

    async def scene() -> None:
        with opa_server() as opa:
            module = 'package cordon.request\n\nextra := {"allow": true}\n'
            assert httpx.put(f"{opa.url}/v1/policies/theirs", content=module).status_code == 200
            with pytest.raises(BundleError, match="module theirs of others"):
                async with asking(opa.url, bundle_folder(tmp_path / "bundle"), tmp_path / "run"):
                    pass

    asyncio.run(scene())


def test_workers_that_start_at_once_push_once(tmp_path: Path) -> None:
    async def scene() -> None:
        folder = bundle_folder(tmp_path / "bundle")
        with opa_server() as opa:
            async with contextlib.AsyncExitStack() as stack:
                contexts = [asking(opa.url, folder, tmp_path / "run", deadline_ms=10_000) for _ in range(4)]
                workers = await asyncio.gather(*(stack.enter_async_context(context) for context in contexts))
                assert all([await worker.allows() for worker in workers])
                write(folder, {"request.rego": DENIES})
                for worker in workers:
                    await worker.until(lambda worker=worker: len(worker.loaded) == 2)  # type: ignore[misc]
                assert not any([await worker.allows() for worker in workers])

    asyncio.run(scene())


def test_a_lock_that_its_holder_left_is_taken_away(tmp_path: Path) -> None:
    async def scene() -> None:
        with opa_server() as opa:
            httpx.put(f"{opa.url}/v1/data/cordon_gateway_lock", json={"holder": "a process that died"})
            folder = bundle_folder(tmp_path / "bundle")
            async with asking(opa.url, folder, tmp_path / "run", watch=False, admission_seconds=1) as asked:
                assert await asked.allows()

    asyncio.run(scene())


def test_a_call_made_for_a_bundle_is_not_decided_by_one_that_reads_more(tmp_path: Path) -> None:
    """Its document lacks what the new bundle reads: `not input.tenant.blocked` would be true of whatever is missing."""

    async def scene() -> None:
        folder = bundle_folder(
            tmp_path / "bundle", request='package cordon.request\n\ndecision := {"allow": input.call.n == 1}\n'
        )
        with opa_server() as opa:
            async with asking(opa.url, folder, tmp_path / "run") as asked:
                engine = asked.source.engine
                assert engine.request_reads == frozenset({"call.n"}) or engine.request_reads == frozenset({"call"})
                more = 'package cordon.request\n\ndecision := {"allow": true} if not input.tenant.blocked\n'
                write(folder, {"request.rego": more})
                await asked.until(lambda: len(asked.loaded) == 2)
                with pytest.raises(PolicyError, match="changed while the call was under way"):
                    await engine.decide(Moment.REQUEST, b'{"call": {"n": 1}}')
                assert await asked.allows(b'{"tenant": {}}')

    asyncio.run(scene())


def test_the_starter_bundle_is_taken_and_decides_as_the_embedded_engine(tmp_path: Path) -> None:
    async def remote(documents: list[tuple[Moment, bytes]]) -> list[object]:
        with opa_server() as opa:
            async with asking(opa.url, STARTER, tmp_path / "run", watch=False, deadline_ms=10_000) as asked:
                return [await asked.source.engine.decide(moment, document) for moment, document in documents]  # type: ignore[call-overload]

    dice = random.Random(7)
    documents = [(Moment.REQUEST, json.dumps(request_document(dice)).encode()) for _ in range(60)]
    documents += [(Moment.ANSWER_HEAD, json.dumps(answer_document(dice)).encode()) for _ in range(60)]
    verdict = admit_now(load_bundle(STARTER), SETTINGS)
    assert verdict.bundle is not None
    local = EmbeddedEngine(verdict.bundle, SETTINGS, verdict.reads)
    expected = [ask(local, text) if moment is Moment.REQUEST else ask_answer(local, text) for moment, text in documents]
    found = asyncio.run(remote(documents))
    assert found == expected
    assert {each.allow for each in expected if isinstance(each, RequestDecision)} == {True, False}


def test_what_the_server_holds_is_adopted_only_where_it_was_verified_by_the_same_key(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    folder = bundle_folder(tmp_path / "bundle")
    (folder / SIGNATURES).write_bytes(sign(read_all(folder), private))
    verification = Verification(key=public)

    async def scene(url: str) -> None:
        async with asking(url, folder, tmp_path / "run", watch=False, verification=verification) as first:
            assert await first.allows()
        (folder / "request.rego").write_text("package cordon.request\n")
        async with asking(url, folder, tmp_path / "run", watch=False, verification=verification) as second:
            assert await second.allows()
            assert second.rejected[0][0].code == "signature"
        with pytest.raises(BundleError, match="was changed after it was signed"):
            async with asking(url, folder, tmp_path / "other", watch=False, verification=verification):
                raise AssertionError("adopted")
        public.write_bytes(write_keys(tmp_path, "EdDSA", "other")[1].read_bytes())
        with pytest.raises(BundleError, match="not good by the configured key"):
            async with asking(url, folder, tmp_path / "run", watch=False, verification=verification):
                raise AssertionError("adopted")

    with opa_server() as server:
        asyncio.run(scene(server.url))
