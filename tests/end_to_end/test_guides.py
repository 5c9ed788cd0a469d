"""The guides by role: every command in them, typed in order beside a running Cordon, and what it must lead to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from policies.settings import Policy
from tests.support.gateway import ROOT, cordon
from tests.support.pages import blocks, outputs, typed
from tests.support.servers import require_binary

pytestmark = pytest.mark.timeout(300)  # a whole page is typed before the first of its tests
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))


# The platform engineer


@pytest.fixture(scope="module")
def platform_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("p")


@pytest.fixture(scope="module")
def platform(platform_folder: Path) -> Iterator[list[str]]:
    require_binary("openssl")
    with typed("docs/guides/platform-engineer.md", platform_folder) as printed:
        yield printed


def test_the_starter_is_in_order(platform: list[str]) -> None:
    assert "is in order: 4 routes, 2 tenants" in platform[0]
    assert "0 to mend, 0 to look at" in platform[0]


def test_a_key_is_made_listed_and_used(platform: list[str]) -> None:
    assert "acme/ci-bot" in platform[1]
    assert '"name":"Jana Novak"' in platform[1]


def test_tls_is_taken_up_while_it_runs(platform: list[str]) -> None:
    assert "is in order" in platform[2]
    assert '"name":"Jana Novak"' in platform[2]


def test_metrics_are_there_for_a_reader_token(platform: list[str]) -> None:
    assert platform[3].startswith("ok\n")
    assert 'route="crm"' in platform[3]


def test_the_backup_is_verified(platform: list[str]) -> None:
    assert "records: " in platform[5]
    assert "nothing wrong in what was checked" in platform[5]


def test_a_restored_backup_serves_the_keys_that_it_holds(platform: list[str], platform_folder: Path) -> None:
    assert platform
    with cordon(start=False) as other:
        since = str(platform_folder / "checkpoint.txt")
        done = other.cli(
            "restore", str(platform_folder / "backup"), "--keys", str(platform_folder / "backup-keys"), "--since", since
        )
        assert done["lacks"] == 0
        other.start()
        names = {key["name"] for key in other.cli("key", "list")}
        assert {"first", "ci-bot", "prometheus"} <= names
        with other.client(other.key("new")) as client:
            assert client.get("/crm/customers/1001").status_code == 200
        assert other.cli("log", "verify", "--since", since)["wrong"] == 0


# What is kept


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with typed("docs/keeping.md", tmp_path_factory.mktemp("k")) as printed:
        yield printed


def test_the_page_backs_up_erases_and_restores(keeping: list[str]) -> None:
    assert "the state and what lies beside the log to backup, verified." in keeping[0]
    assert "Erased globex: its key is destroyed" in keeping[1]
    assert re.search(r"globex +erased", keeping[1]) and re.search(r"acme +configured", keeping[1])


def test_the_page_prunes_what_is_old(keeping: list[str]) -> None:
    assert keeping[-1].count("There is nothing to give up.") == 2


def test_what_the_page_restores_verifies_and_has_the_tenant_erased_again(keeping: list[str]) -> None:
    assert "verified. Erased again: globex." in keeping[2]
    assert "nothing wrong in what was checked" in keeping[2]
    assert re.search(r"globex +erased", keeping[2])


# Rolling out


@pytest.fixture(scope="module")
def rolled_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with typed("docs/roll-out.md", tmp_path_factory.mktemp("r")) as printed:
        yield printed


def test_a_bundle_is_rolled_out_by_two_people_and_taken_back(rolled_out: list[str]) -> None:
    told = rolled_out[0] + rolled_out[2]
    assert re.search(r"rollout-[0-9a-f]{16} is a draft of revision [0-9a-f]{16}, \d+ tests passed", told)
    assert '+      "US": "drop"' in told
    assert told.count("exit code 1") == 2, "the two bundles differ; and nobody has approved yet"
    assert re.search(r"rollout-[0-9a-f]{16} +all +live .*\bben\b", told)
    assert "is a draft again; the configured bundle decides from now on." in told


def test_a_program_proposes_the_same_bundle(rolled_out: list[str]) -> None:
    made = json.loads(rolled_out[3])
    first = re.search(r"is a draft of revision ([0-9a-f]{16}), (\d+) tests", rolled_out[0])
    assert first is not None and (made["revision"], str(made["tests"])) == (first[1], first[2])


# The policy author


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    require_binary("openssl")
    with typed("docs/guides/policy-author.md", tmp_path_factory.mktemp("a")) as printed:
        yield printed


def test_the_starter_bundle_is_admitted_and_tested(author: list[str]) -> None:
    assert "is admitted as revision" in author[0]
    assert " 0 failed" in author[0]


def test_the_two_decisions_fall_as_the_page_says(author: list[str]) -> None:
    allowed, _, denied = author[1].partition("deny")
    assert "allow\n  endpoints: eu\n  redact: payment_card=mask" in allowed
    assert "residency.no_endpoint" in denied
    assert "exit code 1" in denied


def test_a_refusal_is_explained_with_what_would_have_allowed_it(author: list[str]) -> None:
    assert "Each of these alone would have allowed it:" in author[2]
    assert 'add "EU" to input.tenant.residency' in author[2]
    assert "exit code 1" in author[2]


def test_the_new_rule_is_tested_and_refuses(author: list[str]) -> None:
    assert "2 passed, 0 failed" in author[3]
    assert "is admitted as revision" in author[3]
    assert "streams.role: Streamed answers need the role assistant" in author[3]


def test_the_running_cordon_takes_the_bundle_up(author: list[str]) -> None:
    loaded = re.findall(r"policy\.loaded +- +([0-9a-f]{16})", author[4])
    assert len(loaded) >= 2
    admitted = re.findall(r"is admitted as revision ([0-9a-f]{16})", author[3])
    assert loaded[-1] == admitted[-1] != loaded[0]


def test_a_candidate_is_tried_on_what_has_been(author: list[str]) -> None:
    assert '"name":"Jana Novak"' in author[5]
    assert "1 newly refused" in author[5]
    assert "grants.route" in author[5]


def test_admission_refuses_with_place_and_remedy(author: list[str]) -> None:
    assert "request.rego:3:" in author[6]
    assert "http.send is not evaluated here as OPA does it; put what the policy needs into data.json" in author[6]
    assert "draft is refused: 1 error, 1 note\nexit code 1" in author[6]


@pytest.mark.parametrize("block", [7, 8])
def test_checks_and_tests_print_what_the_page_shows(author: list[str], block: int) -> None:
    """Line by line, but for the revision and the times."""
    shown = outputs("docs/guides/policy-author.md")[block - 7]
    assert _steady(author[block]) == _steady(shown)
    assert "exit code 1" in shown


def _steady(text: str) -> str:
    return re.sub(r"[0-9a-f]{16}|[\d.]+ ms", "…", text).strip()


def test_the_costs_are_told_by_decision_and_rule(author: list[str]) -> None:
    decisions, rules, reading = author[9].strip().split("\n\n")
    assert "data.cordon.request.decision" in decisions
    assert "data.cordon.request.refuse" in rules
    assert "large request" in reading


def test_the_changed_data_fail_the_starters_own_test(author: list[str]) -> None:
    assert "is admitted" in author[10]
    assert re.search(r"redaction_test\.rego:\d+: .*test_personal_data_is_masked_where_the_us_are_possible", author[10])
    assert "exit code 1" in author[10]


def test_what_is_signed_verifies_and_what_was_changed_does_not(author: list[str]) -> None:
    assert "policies/bundles/starter are signed in starter.tar.gz" in author[11]
    assert "starter.tar.gz is as it was signed" in author[11]
    assert all(line in author[11] for line in outputs("docs/guides/policy-author.md")[-1].splitlines())
    assert "altered is refused\nexit code 1" in author[11]


def test_the_configuration_of_a_signed_bundle_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/guides/policy-author.md").read_text(), re.DOTALL)
    policy = Policy(**yaml.safe_load(block)["policy"])
    assert policy.verification is not None


# The SOC analyst


@pytest.fixture(scope="module")
def analyst(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with typed("docs/guides/soc-analyst.md", tmp_path_factory.mktemp("s")) as printed:
        yield printed


def test_the_burst_raises_an_alert_and_contains(analyst: list[str]) -> None:
    assert "20 calls of acme/support-bot were refused" in analyst[0]
    assert "detector:refusal_burst" in analyst[0]


def test_the_evidence_names_the_rule(analyst: list[str]) -> None:
    assert "decision: roles.missing" in analyst[1]
    assert "containment" in analyst[2]
    assert '"kind": "call.refused"' in analyst[2]


def test_a_principal_and_an_endpoint_are_contained_and_released(analyst: list[str]) -> None:
    assert "acme/ci-bot is isolated until" in analyst[3]
    assert "crm-eu is isolated until" in analyst[3]
    assert analyst[3].count("Released con-") == 2
    listed = analyst[3].rpartition("OWNER")[2]
    assert "acme/ci-bot" not in listed
    assert "acme/support-bot" in listed


def test_a_revoked_key_is_unknown(analyst: list[str]) -> None:
    assert "Revoked key-" in analyst[4]
    assert "urn:cordon:refusal:unknown_key" in analyst[4]


# The auditor


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    require_binary("fsck")
    with typed("docs/guides/auditor.md", tmp_path_factory.mktemp("u")) as printed:
        yield printed


def test_key_and_checkpoint_are_open_to_everybody(auditor: list[str]) -> None:
    vkey, origin, *_ = auditor[0].splitlines()
    assert vkey.startswith(f"{origin}+")


def test_nothing_was_rewritten_since_the_checkpoint(auditor: list[str]) -> None:
    assert "given checkpoint: 1 checkpoints checked, 0 wrong" in auditor[1]
    assert "nothing wrong in what was checked" in auditor[1]


@pytest.mark.parametrize("block", [2, 4])
def test_a_foreign_tool_passes_the_served_and_the_exported_log(auditor: list[str], block: int) -> None:
    assert "Successfully fsck'd log with size" in auditor[block]


def test_a_record_is_shown_and_proved(auditor: list[str]) -> None:
    assert '"kind": "process.started"' in auditor[3]
    assert "record 0 is in the log of" in auditor[3]
    assert "c2sp.org/tlog-proof@v1\nindex 0\n" in auditor[3]


def test_the_export_is_json_lines(auditor: list[str]) -> None:
    first = next(line for line in auditor[4].splitlines() if line.startswith("{"))
    assert json.loads(first)["index"] == 0


# All


def test_every_guide_is_typed_here_and_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    here = Path(__file__).read_text()
    for guide in GUIDES:
        place = guide.relative_to(ROOT).as_posix()
        assert f"({place})" in readme
        assert f'typed("{place}"' in here
        assert blocks(place)


@pytest.mark.parametrize(
    "page", [*GUIDES, ROOT / "README.md", ROOT / "docs/quickstart.md", ROOT / "examples/README.md"]
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).resolve().exists(), target
