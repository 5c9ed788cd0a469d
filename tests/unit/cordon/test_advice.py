"""What is legal and probably not meant is said with its line; what is meant stays silent."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cordon.advice import advice
from cordon.config import load
from cordon.yaml_file import named
from tests.support.cli import ROOT, Installation

WISE = f"""\
policy: {{bundle: {ROOT / "policies/bundles/starter"}}}
tenants: [{{id: acme, residency: [EU]}}]
routes:
  - id: crm
    prefix: /crm
    kind: http
    endpoints: [{{id: crm-eu, url: "https://crm.example", jurisdiction: EU}}]
"""


def advised(folder: Path, text: str) -> dict[str, str]:
    file = folder / "cordon.yaml"
    file.write_text(text)
    return {named(each.place): f"{each.text}; {each.remedy}" for each in advice(load(file))}


def changed(*changes: tuple[str, object]) -> str:
    """The wise configuration with the settings at these places (`gateway.listen`, `routes.0.kind`) changed."""
    values = yaml.safe_load(WISE)
    for path, value in changes:
        *parts, last = path.split(".")
        at = values
        for part in parts:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        at[last] = value
    return str(yaml.safe_dump(values))


def test_a_wise_configuration_is_passed_in_silence(tmp_path: Path) -> None:
    assert advised(tmp_path, WISE) == {}


def test_the_starter_configuration_is_passed_in_silence(tmp_path: Path) -> None:
    (tmp_path / "policies/bundles/starter").mkdir(parents=True)
    assert advised(tmp_path, (ROOT / "cordon/templates/cordon.yaml").read_text()) == {}


ENDPOINT = "routes.0.endpoints"


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("gateway.listen", "0.0.0.0:8080"), "gateway.listen", "without TLS"),
        (("gateway.listen", "[::]:8080"), "gateway.listen", "without TLS"),
        (("gateway.listen", "192.0.2.7:8080"), "gateway.listen", "without TLS"),
        (("gateway.workers", 256), "gateway.workers", "256 workers share"),
        (("gateway.limits", {"body": 1_000_000_000}), "gateway.limits.body", "never fit"),
        (("gateway.limits", {"answer": 1_000_000_000}), "gateway.limits.answer", "never fit"),
        (("routes.0.body_limit", 1_000_000_000), "routes[0].body_limit", "never fit"),
        (("gateway.limits", {"total_time": 60}), "gateway.limits.first_byte_time", "never takes effect"),
        (("stand_in", {"listen": "0.0.0.0:8082"}), "stand_in.listen", "trusts whoever comes"),
        (("control", {"unsafe_open_metrics": True}), "control.unsafe_open_metrics", "it is on"),
        (
            ("decision_logs", [{"id": "a", "url": "http://c.example", "unsafe_plain_http": True}]),
            "decision_logs[0].unsafe_plain_http",
            "it is on",
        ),
        (("tenants", []), "tenants", "nobody can call"),
        (("routes", []), "routes", "nothing can be called"),
        (("tenants.0.residency", []), "tenants[0]", "no residency"),
        (("tenants.0.residency", ["US"]), "tenants[0].residency[0]", "no endpoint lies in US"),
        (("tenants.0.residency", ["EU", "eu"]), "tenants[0].residency[1]", "did you mean EU?"),
        ((f"{ENDPOINT}.0.url", "http://crm.example"), f"{'routes[0].endpoints[0]'}.url", "plain http"),
        ((f"{ENDPOINT}.0.url", "http://10.0.0.5"), "routes[0].endpoints[0].url", "plain http"),
        ((f"{ENDPOINT}.0.url", "http://localhost.example"), "routes[0].endpoints[0].url", "plain http"),
        (
            (ENDPOINT, [{"id": "a", "url": "https://crm.example"}]),
            "routes[0].endpoints[0]",
            "the data of acme may not go there",
        ),
        (
            (ENDPOINT, [
                {"id": "a", "url": "https://crm.example", "jurisdiction": "EU"},
                {"id": "b", "url": "https://CRM.example/", "jurisdiction": "US"},
            ]),
            "routes[0].endpoints[1].jurisdiction",
            "the address is that of endpoint a, which lies in EU",
        ),
        (("detection", {"contain": {"spare": ["crm-eo"]}}), "detection.contain.spare[0]", "did you mean crm-eu?"),
        (("detection", {"contain": {"spare": ["acne/bot"]}}), "detection.contain.spare[0]", "did you mean acme?"),
    ],
)  # fmt: skip
def test_each_unwise_setting_is_named_with_a_remedy(
    tmp_path: Path, change: tuple[str, object], place: str, words: str
) -> None:
    found = advised(tmp_path, changed(change))
    assert words in found[place]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9", "http://127.8.8.8"])
def test_plain_http_within_this_machine_is_no_matter(tmp_path: Path, url: str) -> None:
    assert advised(tmp_path, changed((f"{ENDPOINT}.0.url", url))) == {}


def test_a_spared_principal_of_a_tenant_and_a_spared_endpoint_are_no_matter(tmp_path: Path) -> None:
    assert advised(tmp_path, changed(("detection", {"contain": {"spare": ["acme/ci-bot", "crm-eu"]}}))) == {}


def test_an_anthropic_address_with_v1_is_named(tmp_path: Path) -> None:
    route = {"id": "a", "prefix": "/a", "kind": "model", "dialect": "anthropic"}
    endpoint = {"id": "a", "url": "https://api.example/v1/", "jurisdiction": "EU"}
    found = advised(tmp_path, changed(("routes", [route | {"endpoints": [endpoint]}])))
    assert "there twice" in found["routes[0].endpoints[0].url"]


def test_a_secret_that_takes_the_place_of_the_clients_own_is_named(tmp_path: Path) -> None:
    changes = (("routes.0.key_header", "x-cordon-key"), (f"{ENDPOINT}.0.credential", "env:PATH"))
    assert "takes the place" in advised(tmp_path, changed(*changes))["routes[0].endpoints[0].credential"]
    elsewhere = (f"{ENDPOINT}.0.credential_header", "private-token")
    assert advised(tmp_path, changed(*changes, elsewhere)) == {}


def test_a_secret_that_everybody_can_read_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o640)
    text = changed((f"{ENDPOINT}.0.credential", "file:secret"))
    assert advised(tmp_path, text) == {}
    secret.chmod(0o644)
    found = advised(tmp_path, text)
    assert f"chmod o-rwx {secret}" in found["routes[0].endpoints[0].credential"]
    assert "s3cret" not in str(found)


# The command


@pytest.fixture
def cordon(tmp_path: Path) -> Installation:
    return Installation(tmp_path, WISE.replace("tenants:", "gateway: {listen: '0.0.0.0:8080'}\ntenants:"))


def test_warnings_have_their_line_and_leave_the_exit_code_at_0(cordon: Installation) -> None:
    result = cordon("config", "check", str(cordon.file))
    assert result.code == 0
    assert f"warning: {cordon.file}:2: gateway.listen: 0.0.0.0:8080 is reachable from outside without TLS" in result.out
    assert "can be used, with 1 warning: 1 route," in result.out


def test_strict_makes_warnings_a_failure(cordon: Installation) -> None:
    assert cordon("config", "check", str(cordon.file), "--strict").code == 1
    cordon.file.write_text(WISE)
    assert cordon("config", "check", str(cordon.file), "--strict").code == 0


def test_warnings_are_told_for_programs_too(cordon: Installation) -> None:
    facts = cordon("config", "check", str(cordon.file), "--json").json
    assert facts["valid"] is True
    assert [(row["line"], row["key"]) for row in facts["warnings"]] == [(2, "gateway.listen")]
    assert facts["problems"] == []


def test_a_value_from_the_environment_is_not_shown(cordon: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORDON_TEST_HOST", "hidden-host.example")
    cordon.file.write_text(WISE.replace("residency: [EU]", 'residency: ["${CORDON_TEST_HOST}"]'))
    result = cordon("config", "check", str(cordon.file))
    assert "no endpoint lies in ${CORDON_TEST_HOST}" in result.out
    assert "hidden-host" not in result.out
    assert "hidden-host" not in cordon("config", "check", str(cordon.file), "--json").out


def test_a_wider_residency_than_there_are_endpoints_is_no_matter(tmp_path: Path) -> None:
    assert advised(tmp_path, changed(("tenants.0.residency", ["EU", "US"]))) == {}


def test_the_doctor_gives_the_same_advice(cordon: Installation) -> None:
    assert "warn  settings        gateway.listen: 0.0.0.0:8080 is reachable from outside" in cordon("doctor").out
