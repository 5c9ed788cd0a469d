"""A tenant is erased while Cordon serves it: its calls are refused, its content is gone, and nothing brings it back."""

from __future__ import annotations

import io
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from cordon import cli
from lineage.erasure import erased_path
from lineage.sqlite_side import SqliteSide
from lineage.tokens import Kept, Scope, TokenStore
from tests.support.gateway import Cordon, cordon, wait_for

GPT = "gpt-4.1-mini"


@pytest.fixture
def gateway() -> Iterator[Cordon]:
    def two_workers(config: dict[str, Any]) -> None:
        config["gateway"]["workers"] = 2

    with cordon(two_workers) as running:
        yield running


def call(gateway: Cordon, key: str) -> httpx.Response:
    return httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})


def wrapped(gateway: Cordon, tenant: str) -> object:
    side = SqliteSide(gateway.data_dir / "cordon-side.db")
    try:
        return side.wrapped_key(tenant)
    finally:
        side.close()


def test_an_erased_tenant_is_cut_off_everywhere_and_its_content_is_gone(gateway: Cordon) -> None:
    key, other = gateway.key("ci-bot"), gateway.key("ci-bot", "globex")
    for each in (key, other):
        assert call(gateway, each).status_code == 200
    ended: list[BaseException | None] = []
    begun = threading.Event()

    def stream() -> None:
        with openai.OpenAI(base_url=f"{gateway.url}/openai", api_key=key, max_retries=0) as client:
            try:
                messages: Any = [{"role": "user", "content": "standin:words=2000 standin:slow=20"}]
                for _ in client.chat.completions.create(model=GPT, messages=messages, stream=True):
                    begun.set()
                ended.append(None)
            except (openai.OpenAIError, httpx.HTTPError) as error:
                ended.append(error)

    thread = threading.Thread(target=stream, daemon=True)
    thread.start()
    assert begun.wait(10)
    start = gateway.log.size()
    shown = [(r["tenant"], r["side"]) for r in gateway.records(0, "call.intent", "call.outcome") if "side" in r]
    named = [side for tenant, side in shown if tenant == "acme"]
    kept = [side for tenant, side in shown if tenant == "globex"]
    side = SqliteSide(gateway.data_dir / "cordon-side.db")
    wait_for(lambda: all(side.load(digest) for digest in named + kept))

    done = gateway.cli("tenant", "erase", "acme", "--yes")
    erased_at = time.monotonic()
    assert len(done["keys"]) == 1 and done["blobs"] >= len(set(named)) > 2
    for _ in range(12):  # New connections, so that both workers are met.
        assert call(gateway, key).status_code == 401
    assert call(gateway, other).status_code == 200
    thread.join(5)
    assert ended and ended[0] is not None and time.monotonic() - erased_at < 3
    cut = gateway.until("call.outcome", start, principal="acme/ci-bot", verdict="cut")
    assert cut["reasons"][0]["rule"] == "tenant_erased"
    assert all(side.load(digest) is None for digest in named) and all(side.load(digest) for digest in kept)
    side.close()

    record = gateway.until("admin.tenant_erased", start)
    assert (record["tenant"], record["index"]) == ("acme", done["index"]) and record["by"].startswith("cli:")
    assert gateway.cli("log", "verify")["wrong"] == 0
    listed = {row["tenant"]: (row["state"], row["keys"]) for row in gateway.cli("tenant", "list")}
    assert listed == {"acme": ("erased", 0), "globex": ("configured", 1)}
    assert cli.run(["key", "create", "x", "--tenant", "acme", "-c", str(gateway.file)]) == 2
    assert gateway.cli("tenant", "erase", "acme", "--yes")["index"] is None, "again: nothing new in the log"


def test_the_tokens_of_an_erased_tenant_are_gone(gateway: Cordon) -> None:
    store = TokenStore(gateway.data_dir / "cordon-side.db", most=100)
    for tenant in ("acme", "globex"):
        row = Kept("[EMAIL_A]", b"m" * 16, False, b"sealed")
        store.keep(Scope(f"{tenant}/bob", tenant.encode().ljust(16)), [row], 0, 2**50)
    assert gateway.cli("tenant", "erase", "acme", "--yes")["tokens"] == 1
    assert store.find(Scope("acme/bob", b"acme".ljust(16)), "[EMAIL_A]", 0) is None
    assert store.find(Scope("globex/bob", b"globex".ljust(16)), "[EMAIL_A]", 0)
    store.close()


def test_data_of_before_an_erasure_bring_nothing_back(gateway: Cordon) -> None:
    key = gateway.key("ci-bot")
    assert call(gateway, key).status_code == 200
    gateway.close()
    before = gateway.directory / "before"
    before.mkdir()
    for path in gateway.data_dir.glob("cordon*.db*"):
        shutil.copy2(path, before)
    gateway.cli("tenant", "erase", "acme", "--yes")
    for path in gateway.data_dir.glob("cordon*.db*"):
        path.unlink()
    for path in before.iterdir():
        shutil.copy2(path, gateway.data_dir)
    assert wrapped(gateway, "acme") != (None,)
    gateway.start()
    assert wrapped(gateway, "acme") == (None,)
    assert call(gateway, key).status_code == 401
    record = gateway.until("admin.tenant_erased")
    assert record["tenant"] == "acme" and record["first_at"] < record["at"]
    assert [row["state"] for row in gateway.cli("tenant", "list")] == ["erased", "configured"]
    assert erased_path(gateway.data_dir).read_text().count("acme") == 1


def test_the_name_has_to_be_typed_and_to_be_a_tenants(gateway: Cordon, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.run(["tenant", "erase", "acmee", "--yes", "-c", str(gateway.file)]) == 2
    for typed, expected in (("globex\n", 1), ("", 130), ("acme\n", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        assert cli.run(["tenant", "erase", "acme", "-c", str(gateway.file)]) == expected
        assert bool(gateway.records(0, "admin.tenant_erased")) is (expected == 0)
