from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from cordon import first_run
from cordon.config import Config, load
from lineage.local import open_log
from tests.support.cli import Installation


@pytest.fixture
def config(tmp_path: Path) -> Config:
    first_run.write_starter(tmp_path / "cordon.yaml")
    return load(tmp_path / "cordon.yaml", {})


def test_the_starter_configuration_needs_no_vendor_s_key(config: Config) -> None:
    assert [tenant.id for tenant in config.tenants] == ["acme", "globex"]
    assert all(not endpoint.credential for route in config.routes for endpoint in route.endpoints)
    assert config.stand_in is not None


def test_its_routes_and_tenants_are_those_that_the_starter_policy_knows(config: Config) -> None:
    data = json.loads((config.policy.bundle / "data.json").read_text())
    for tenant in config.tenants:
        assert {route.id for route in config.routes} <= set(data["tenants"][tenant.id]["routes"])
    assert {route.id for route in config.routes} <= set(data["routes"])


def test_an_own_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "cordon.yaml"
    file.write_text("mine")
    assert first_run.write_starter(file) == []
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_an_own_bundle_is_never_overwritten(tmp_path: Path) -> None:
    bundle = tmp_path / "policies/bundles/starter"
    bundle.mkdir(parents=True)
    assert first_run.write_starter(tmp_path / "cordon.yaml") == [tmp_path / "cordon.yaml"]
    assert list(bundle.iterdir()) == []


def test_the_first_key_is_given_out_once(config: Config) -> None:
    first = first_run.welcome(config, "cli-x")
    second = first_run.welcome(config, "cli-x")
    assert first.key.startswith("cordon_")
    assert first.tenant == "acme"
    assert second.key == ""
    assert first.invitation != second.invitation != ""
    with open_log(config.data_dir, config.lineage) as log:
        assert [key.name for key in log.control.keys.values()] == ["first"]


def test_no_first_key_is_made_where_all_keys_were_revoked(config: Config, tmp_path: Path) -> None:
    installation = Installation(tmp_path, (tmp_path / "cordon.yaml").read_text())
    made = installation("key", "create", "a", "--tenant", "acme", "--json").json
    installation("key", "revoke", made["id"])
    assert first_run.welcome(config, "cli-x").key == ""


def test_the_line_to_change_is_the_one_of_the_first_model_endpoint(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "cordon.yaml"
    line = first_run.stand_in_line(file, config)
    lines = file.read_text().splitlines()
    assert "openai-us" in lines[line - 1]
    assert lines[line - 2].lstrip().startswith('# - {id: openai-us, url: "https://api.openai.com')
    without = config.model_copy(update={"stand_in": None})
    assert first_run.stand_in_line(file, without) == 0


def test_the_commented_lines_of_the_vendors_are_in_order(tmp_path: Path) -> None:
    first_run.write_starter(tmp_path / "cordon.yaml")
    file = tmp_path / "cordon.yaml"
    text = file.read_text().splitlines()
    for number, line in enumerate(text):
        if line.lstrip().startswith("# - {id:"):
            text[number], text[number + 1] = line.replace("# - ", "- "), ""
    file.write_text("\n".join(text))
    config = load(file, {})
    credentials = [
        endpoint.credential for route in config.routes for endpoint in route.endpoints if endpoint.credential
    ]
    assert credentials == ["env:OPENAI_API_KEY", "env:ANTHROPIC_API_KEY"]


def test_the_example_call_is_one_line_that_a_shell_understands(config: Config) -> None:
    line = first_run.example_call(config, "cordon_x")
    words = shlex.split(line)
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8080/openai/chat/completions"]
    assert "Authorization: Bearer cordon_x" in words
    assert json.loads(words[-1])["messages"][0]["role"] == "user"
    assert first_run.example_call(config.model_copy(update={"routes": ()}), "x") == ""


def test_addresses_follow_tls_and_the_public_address(config: Config) -> None:
    control = config.control.model_copy(update={"public_url": "https://cordon.example/"})
    assert first_run.console_url(config.model_copy(update={"control": control})) == "https://cordon.example"
    assert first_run.console_url(config) == "http://127.0.0.1:8081"
    assert first_run.gateway_url(config) == "http://127.0.0.1:8080"
