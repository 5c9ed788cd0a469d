"""Two Cordons on one PostgreSQL: one tenant's key, one table of tokens, one place for policy inputs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import openai
import pytest

from gateway.content.tokens import TOKEN
from lineage.errors import TenantErased
from lineage.keys import load_master_key
from lineage.side import TenantKeys, unseal
from lineage.side_place import SidePlace
from tests.support.gateway import BUNDLE, Cordon, cordon, wait_for
from tests.support.postgres import Postgres, postgres

MAIL = "jana.novak@example.com"
TEXT = f"Write to {MAIL}, then tell {MAIL} again."


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def nodes(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cordon, Cordon]]:
    bundle = tmp_path_factory.mktemp("policy") / "bundle"
    shutil.copytree(BUNDLE, bundle)
    data = json.loads((bundle / "data.json").read_text())
    data["findings"]["email"] = {"EU": "tokenise", "US": "tokenise"}
    (bundle / "data.json").write_text(json.dumps(data))
    database = server.database()

    def change(config: dict[str, Any]) -> None:
        config["policy"]["bundle"] = str(bundle)
        config["database"] = database

    with cordon(change) as first, cordon(change, start=False) as second:
        shutil.copytree(first.data_dir / "keys", second.data_dir / "keys")
        second.start()
        yield first, second


def ask(node: Cordon, key: str, text: str, stream: bool = False) -> str:
    with openai.OpenAI(base_url=f"{node.url}/openai", api_key=key, max_retries=0) as client:
        messages: Any = [{"role": "user", "content": f"standin:echo {text}"}]
        if not stream:
            done = client.chat.completions.create(model="gpt-4.1-mini", messages=messages)
            return str(done.choices[0].message.content)
        chunks = client.chat.completions.create(model="gpt-4.1-mini", messages=messages, stream=True)
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_a_token_of_one_node_is_restored_by_the_other(nodes: tuple[Cordon, Cordon], server: Postgres) -> None:
    first, second = nodes
    key = first.key("bot")
    second.knows(key)
    for stream in (False, True):
        assert ask(first, key, TEXT, stream) == f"You wrote: {TEXT}"
        assert ask(second, key, TEXT, stream) == f"You wrote: {TEXT}"
    bodies = [node.eu.received[-1].body.decode() for node in nodes]
    one, two = (TOKEN.findall(body) for body in bodies)
    assert one == two and one[0] == one[1] and "jana" not in "".join(bodies)
    for node in nodes:
        for stream in (False, True):
            assert (
                ask(node, key, f"Who is {one[0]}, asks eve@example.org", stream)
                == f"You wrote: Who is {MAIL}, asks eve@example.org"
            )
    stranger = second.key("eve")
    first.knows(stranger)
    assert (
        ask(first, stranger, f"Who is {one[0]}, asks eve@example.org")
        == f"You wrote: Who is {one[0]}, asks eve@example.org"
    )
    for node in nodes:
        assert not list(node.data_dir.glob("cordon-side.db*"))
        assert server.password not in node.errors and "jana" not in node.errors


def test_policy_inputs_of_both_lie_in_one_place_and_verify_counts_them(nodes: tuple[Cordon, Cordon]) -> None:
    first, second = nodes
    key = first.key("reader")
    second.knows(key)
    found = []
    for node in nodes:
        answer = httpx.get(f"{node.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
        found.append(node.of_call(answer.headers["x-cordon-call"])[0]["side"])
    with closing(SidePlace(second.data_dir, second.database).side()) as side:
        keys = TenantKeys(side, load_master_key(second.data_dir))
        for digest in found:
            blob = wait_for(lambda digest=digest: side.load(digest))
            assert b'"tenant"' in unseal(keys.get("acme"), "acme", blob)
        keys.close()
    report = first.cli("log", "verify")
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["blobs beside the log"]["checked"] >= 2
    findings = {row["check"]: row for row in second.cli("doctor")["findings"]}
    assert findings["side tables"]["level"] == "ok"
    (second.data_dir / "cordon-side.db").touch(0o600)
    assert {row["check"]: row for row in second.cli("doctor")["findings"]}["side tables"]["level"] == "warn"
    (second.data_dir / "cordon-side.db").unlink()


def test_a_tenant_erased_at_one_node_is_refused_by_the_other(nodes: tuple[Cordon, Cordon]) -> None:
    first, second = nodes
    key = first.key("clerk", "globex")
    second.knows(key)

    def status(node: Cordon) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.get(f"{node.url}/crm/customers/1001", headers=headers).status_code

    assert (status(first), status(second)) == (200, 200)
    assert ask(second, key, TEXT) == f"You wrote: {TEXT}"
    erased = first.cli("tenant", "erase", "globex", "--yes")
    began = time.monotonic()
    assert (erased["tokens"], erased["blobs"] > 0) == (1, True)
    for node in nodes:
        wait_for(lambda node=node: status(node) != 200)
    assert time.monotonic() - began < 1
    place = SidePlace(second.data_dir, second.database)
    with closing(place.side()) as side:
        assert side.wrapped_key("globex") == (None,), "the key is destroyed where both have it"
        keys = TenantKeys(side, load_master_key(second.data_dir))
        with pytest.raises(TenantErased):
            keys.get("globex")
        keys.close()
    second.cli("log", "verify")
