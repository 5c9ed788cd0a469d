"""The commands, each on an installation of its own; no Cordon runs unless the test starts a log writer."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from lineage.local import open_log
from lineage.note import Verifier
from lineage.proof import Proof
from lineage.record import decode
from lineage.settings import Lineage
from tests.support.cli import ROOT, Installation
from tests.support.logs import start_writer
from tests.support.records import intent


@pytest.fixture
def cordon(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


# How commands answer


def test_help_names_every_command(cordon: Installation) -> None:
    text = cordon("--help").out
    for name in (
        "up",
        "gateway",
        "soc",
        "key",
        "account",
        "policy",
        "log",
        "contain",
        "release",
        "config",
        "doctor",
        "demo",
        "completion",
    ):
        assert f"\n  {name} " in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("key",),
        ("key", "create"),
        ("key", "create", "x"),
        ("log", "show", "--nope"),
        ("log", "show", "-5"),
    ],
)
def test_misuse_ends_with_2(cordon: Installation, arguments: tuple[str, ...]) -> None:
    result = cordon(*arguments)
    assert result.code in ({2, 0} if arguments == ("key",) else {2})
    assert result.err.startswith("error: ") or arguments == ("key",)


def test_an_error_is_one_line_without_a_traceback(cordon: Installation) -> None:
    result = cordon.program("key", "revoke", "key-none")
    assert result.code == 1
    assert result.err.startswith("error: key is not in force")
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) == 1


def test_an_error_is_json_where_json_was_asked_for(cordon: Installation) -> None:
    result = cordon("key", "revoke", "key-none", "--json")
    assert result.code == 1
    assert '"error": "key is not in force' in result.err


def test_a_bad_configuration_names_the_line_in_every_command(cordon: Installation) -> None:
    cordon.file.write_text("gatway: {}\n")
    for command in (("key", "list"), ("log", "show"), ("contain",), ("doctor",), ("config", "check", str(cordon.file))):
        result = cordon(*command)
        assert result.code == 1
        assert f"{cordon.file}:1: gatway: is not a setting; did you mean gateway?" in result.out + result.err


def test_the_file_can_be_named_by_an_option_too(cordon: Installation, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    assert f"{other}: does not exist" in cordon("key", "list", "-c", str(other)).err


def test_an_unforeseen_error_is_one_line_as_well(cordon: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cordon.commands.key.table", lambda *_: 1 / 0)
    result = cordon("key", "list")
    assert result.code == 1
    assert result.err.startswith("error: unexpected ZeroDivisionError (CORDON_DEBUG=1 shows where)")


# Keys


def test_a_key_is_shown_once_and_only_its_digest_is_kept(cordon: Installation) -> None:
    made = cordon("key", "create", "ci-bot", "--tenant", "acme", "--role", "payments", "--json").json
    assert made["key"].startswith("cordon_")
    assert made["principal"] == "acme/ci-bot"
    record = cordon("log", "show", str(made["index"]), "--json").json["record"]
    assert record["digest"] == hashlib.sha256(made["key"].encode()).hexdigest()
    for file in (cordon.directory / "var").rglob("*"):
        if file.is_file():
            assert made["key"].encode() not in file.read_bytes()


def test_keys_are_listed_and_revoked(cordon: Installation) -> None:
    made = cordon("key", "create", "ci-bot", "--tenant", "acme", "--json").json
    reader = cordon("key", "create", "auditor", "--tenant", "globex", "--reader", "--expires", "30d", "--json").json
    assert reader["key"].startswith("cordonr_")
    listed = cordon("key", "list", "--json").json
    assert [(key["id"], key["kind"], key["expires"] is None) for key in listed] == [
        (made["id"], "caller", True),
        (reader["id"], "reader", False),
    ]
    assert "acme/ci-bot" in cordon("key", "list").out
    assert "acme" not in cordon("key", "list", "--tenant", "globex").out
    assert cordon("key", "revoke", made["id"]).code == 0
    assert [key["id"] for key in cordon("key", "list", "--json").json] == [reader["id"]]
    again = cordon("key", "revoke", made["id"])
    assert (again.code, again.err) == (
        1,
        "error: key is not in force: it does not exist or was revoked before [refused_action]\n",
    )


def test_keys_live_the_same_beside_a_running_writer(cordon: Installation) -> None:
    offline = cordon("key", "create", "before", "--tenant", "acme", "--json").json
    writer = start_writer(cordon.directory / "var")
    try:
        online = cordon("key", "create", "during", "--tenant", "acme", "--json").json
        assert online["index"] == offline["index"] + 1
        assert {key["name"] for key in cordon("key", "list", "--json").json} == {"before", "during"}
        assert cordon("key", "revoke", offline["id"]).code == 0
    finally:
        writer.terminate()
        writer.join()
    assert [key["name"] for key in cordon("key", "list", "--json").json] == ["during"]


def test_all_keys_of_a_principal_are_revoked_by_its_name(cordon: Installation) -> None:
    mine = {cordon("key", "create", "bot", "--tenant", "acme", "--json").json["id"] for _ in range(2)}
    others = {
        cordon("key", "create", name, "--tenant", tenant, "--json").json["id"]
        for name, tenant in (("bot", "globex"), ("bot2", "acme"))
    }
    revoked = cordon("key", "revoke", "acme/bot", "--json")
    assert {row["id"] for row in revoked.json} == mine
    assert {row["id"] for row in cordon("key", "list", "--json").json} == others
    assert cordon("key", "revoke", "acme/bot").code == 1


def test_a_key_needs_a_tenant_that_is_configured(cordon: Installation) -> None:
    result = cordon("key", "create", "x", "--tenant", "nobody")
    assert result.code == 2
    assert "there is no tenant nobody; configured are: acme, globex" in result.err


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "../x", "x" * 64, "cordon/x"])
def test_a_key_s_name_is_one_that_records_can_hold(cordon: Installation, name: str) -> None:
    assert cordon("key", "create", "--tenant", "acme", "--", name).code in {1, 2}


@pytest.mark.parametrize("lifetime", ["0d", "10", "-1d", "1.5h", "99999d", "d"])
def test_a_lifetime_must_be_one(cordon: Installation, lifetime: str) -> None:
    assert cordon("key", "create", "x", "--tenant", "acme", "--expires", lifetime).code in {1, 2}
    assert cordon("key", "list", "--json").json == []


# Containment


def test_a_principal_is_contained_and_released(cordon: Installation) -> None:
    cordon("key", "create", "ci-bot", "--tenant", "acme")
    made = cordon("contain", "acme/ci-bot", "--reason", "probing", "--for", "5m", "--json").json
    assert [row["target"] for row in cordon("contain", "--json").json] == ["acme/ci-bot"]
    assert "probing" in cordon("contain").out
    assert cordon("release", made["containment"]).code == 0
    assert cordon("contain").out == "Nothing is isolated.\n"


def test_a_target_s_containments_end_together(cordon: Installation) -> None:
    for _ in range(2):
        cordon("contain", "crm-eu", "--reason", "odd")
    assert len(cordon("release", "crm-eu", "--json").json["released"]) == 2
    assert cordon("release", "crm-eu").code == 1


def test_a_containment_needs_a_reason_and_a_known_target(cordon: Installation) -> None:
    assert "--reason is missing" in cordon("contain", "crm-eu").err
    assert "neither a principal" in cordon("contain", "crm", "--reason", "x").err
    assert "at most 30d" in cordon("contain", "--help").out
    assert cordon("contain", "crm-eu", "--reason", "x", "--for", "31d").code == 1


def test_a_principal_without_a_key_is_contained_with_a_note(cordon: Installation) -> None:
    result = cordon("contain", "acme/typo", "--reason", "x")
    assert result.code == 0
    assert "no key in force is acme/typo's" in result.err


# Accounts


def test_the_first_account_s_link_is_replaced_by_the_next(cordon: Installation) -> None:
    first = cordon("account", "first", "--json").json["link"]
    second = cordon("account", "first", "--json").json["link"]
    assert first.startswith("http://127.0.0.1:0/invitation/")
    assert first != second
    assert len(cordon("account", "list", "--json").json["invitations"]) == 1


def test_operators_are_invited_with_roles_that_exist(cordon: Installation) -> None:
    assert "/invitation/" in cordon("account", "invite", "bob", "--role", "viewer").out
    assert "bob" in cordon("account", "list").out
    assert cordon("account", "invite", "eve", "--role", "root").code == 2
    assert cordon("account", "invite", "cli", "--role", "viewer").code == 1
    assert cordon("account", "disable", "nobody").err == "error: There is no such account. [console]\n"
    assert cordon("account", "enable", "nobody").code == 1
    assert cordon("account", "reset", "nobody").code == 1


# The log


def test_records_are_shown_by_kind_principal_and_index(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    cordon("contain", "acme/a", "--reason", "x")
    cordon("contain", "crm-eu", "--reason", "y")
    assert [row["index"] for row in cordon("log", "show", "--json").lines] == [0, 1, 2]
    assert [row["index"] for row in cordon("log", "show", "--kind", "containment", "--json").lines] == [1, 2]
    assert [row["index"] for row in cordon("log", "show", "--principal", "acme/a", "--json").lines] == [1]
    assert [row["index"] for row in cordon("log", "show", "-n", "1", "--json").lines] == [2]
    assert '"target": "crm-eu"' in cordon("log", "show", "2").out
    assert cordon("log", "show", "3").err == "error: the log has no record 3; its size is 3\n"
    assert "admin.key_created" in cordon("log", "show").out
    assert cordon("log", "show", "--call", "x").code == 1


def test_without_a_log_there_is_one_clear_error(cordon: Installation) -> None:
    for command in (("log", "show"), ("log", "verify"), ("log", "proof", "0"), ("log", "export")):
        result = cordon(*command)
        assert result.code == 1
        assert len(result.err.splitlines()) == 1


def test_a_proof_holds_with_nothing_but_the_record_and_the_key(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    cordon("key", "create", "b", "--tenant", "acme")
    file = cordon.directory / "proof"
    assert cordon("log", "proof", "1", "-o", str(file)).code == 0
    record = cordon("log", "export").out.splitlines()[1].encode()
    data = record[record.index(b'"record":') + 9 : -1]
    verifier = Verifier.parse((cordon.directory / "var/keys/log.vkey").read_text())
    assert Proof.parse(file.read_bytes()).verify(data, [verifier]).size == 2
    assert decode(data)["name"] == "b"
    assert cordon("log", "proof", "1").out == file.read_text()
    assert cordon("log", "proof", "9").code == 1


def test_what_is_old_is_pruned_once_and_can_still_be_proved(cordon: Installation) -> None:
    file = cordon.directory / "cordon.yaml"
    cordon("key", "create", "a", "--tenant", "acme")
    assert "found by its records" in cordon("log", "prune", "--before", "1d").err
    file.write_text(file.read_text() + "lineage: {policy_inputs: false}\n")
    data_dir = cordon.directory / "var"
    with open_log(data_dir, Lineage()) as log:
        log.append(intent(1_000))
    time.sleep(2)
    key = cordon("log", "proof", "0").out
    dry = cordon("log", "prune", "--before", "1s", "--dry-run", "--json").json
    assert (dry["before"], dry["records"]) == (2, 2)
    assert cordon("log", "show", "1").code == 0
    assert cordon("log", "prune", "--before", "1s", "--reason", "too old").code == 0
    told = cordon("log", "show", "1")
    assert told.code == 1
    assert "was pruned" in told.err
    assert cordon("log", "show", "0").code == 0, "keys stay"
    assert "too old" in cordon("log", "show", "--kind", "log.pruned").out
    proof = cordon("log", "proof", "1", "--json").json
    assert (proof["record"], proof["size"]) == (None, 3)
    assert cordon("log", "proof", "0").out != key
    assert cordon("log", "verify", "--json").json["pruned"] == 1
    assert [key["name"] for key in cordon("key", "list", "--json").json] == ["a"]
    for wrong in ("0d", "yesterday", "2026-13-01", "-1d"):
        assert cordon("log", "prune", "--before", wrong).code == 2


def test_verification_ends_with_0_or_1(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    checkpoint = cordon.directory / "checkpoint"
    checkpoint.write_text(cordon("log", "checkpoint").out)
    cordon("key", "create", "b", "--tenant", "acme")
    good = cordon("log", "verify", "--since", str(checkpoint))
    assert good.code == 0
    assert "nothing wrong" in good.out
    assert cordon("log", "verify", "--json").json["wrong"] == 0
    other = Installation(make(cordon.directory / "other"))
    other("key", "create", "c", "--tenant", "acme")
    foreign = other("log", "verify", "--since", str(checkpoint))
    assert foreign.code == 1
    assert foreign.out.endswith("1 fault\n")
    vkey = cordon.directory / "var/keys/log.vkey"
    assert cordon("log", "verify", "--vkey", str(vkey)).code == 0
    assert other("log", "verify", "--vkey", str(vkey)).code == 1


def test_the_log_is_exported_as_lines_and_as_tiles(cordon: Installation) -> None:
    for name in ("a", "b", "c"):
        cordon("key", "create", name, "--tenant", "acme")
    assert [row["index"] for row in cordon("log", "export").lines] == [0, 1, 2]
    assert [row["index"] for row in cordon("log", "export", "--from", "2").lines] == [2]
    file = cordon.directory / "log.jsonl"
    assert cordon("log", "export", "-o", str(file), "--json").json == {"records": 3, "output": str(file)}
    assert len(file.read_text().splitlines()) == 3
    tiles = cordon.directory / "tiles"
    assert cordon("log", "export", "--tiles", "-o", str(tiles)).code == 0
    assert (tiles / "checkpoint").read_text() == cordon("log", "checkpoint").out
    assert (tiles / "tile/0/000.p/3").exists()
    assert cordon("log", "export", "--tiles").code == 2


def test_what_others_wrote_into_records_cannot_move_the_cursor(cordon: Installation) -> None:
    from cordon.output import printable, table

    assert printable("a\x1b[2J\x9b1;1H\nb") == "a�[2J�1;1H�b"
    assert "\x1b[2J" not in table(("X",), [("\x1b[2J",)], "")


# The configuration


def test_a_configuration_is_checked_without_starting_anything(cordon: Installation) -> None:
    result = cordon("config", "check", str(cordon.file))
    assert result.code == 0
    assert result.out.endswith("is in order: 1 route, 2 tenants\n")
    assert not (cordon.directory / "var").exists()


def test_its_problems_are_told_for_programs_too(cordon: Installation) -> None:
    cordon.file.write_text(cordon.file.read_text() + "x: 1\ny: 2\n")
    result = cordon("config", "check", str(cordon.file), "--json")
    assert result.code == 1
    assert [(row["line"], row["key"]) for row in result.json["problems"]] == [(13, "x"), (14, "y")]


def test_a_missing_secret_is_a_warning_there_and_stops_the_start(cordon: Installation) -> None:
    text = cordon.file.read_text().replace("jurisdiction: EU}", "jurisdiction: EU, credential: env:CORDON_TEST_NOPE}")
    cordon.file.write_text(text)
    assert "CORDON_TEST_NOPE is not set" in cordon("config", "check", str(cordon.file)).out
    result = cordon.program("up")
    assert result.code == 1
    assert "endpoint crm-eu: the environment variable CORDON_TEST_NOPE is not set" in result.err


# Policy


def test_a_bundle_is_checked_by_the_admission_of_the_workers(cordon: Installation) -> None:
    good = cordon("policy", "check", "--json")
    assert good.code == 0
    assert good.json["admitted"] is True
    assert set(good.json["cost_ms"]) == {"data.cordon.request.decision", "data.cordon.response.decision"}
    assert "is admitted as revision" in cordon("policy", "check").out


def test_a_refused_bundle_names_file_line_and_remedy(cordon: Installation) -> None:
    bundle = make(cordon.directory / "bundle")
    (bundle / "p.rego").write_text("package cordon.request\n\ndecision := {\n")
    result = cordon("policy", "check", str(bundle))
    assert result.code == 1
    assert "p.rego:" in result.out
    assert "is refused" in result.out
    as_json = cordon("policy", "check", str(bundle), "--json")
    assert as_json.json["admitted"] is False
    assert as_json.json["problems"][0]["line"] > 0
    (bundle / "data.json").write_text('{"a": 1, "a": 2}')
    assert cordon("policy", "check", str(bundle)).code == 1
    assert cordon("policy", "check", str(bundle / "none")).code == 2


def test_a_bundle_can_be_checked_without_a_configuration(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.file.unlink()
    assert installation("policy", "check", str(ROOT / "policies/bundles/starter")).code == 0
    assert installation("policy", "check").code == 1


def test_a_decision_can_be_tried(cordon: Installation) -> None:
    document = cordon.directory / "input.json"
    document.write_text("{}")
    denied = cordon("policy", "eval", "-i", str(document), "--json")
    assert (denied.code, denied.json["decision"]["allow"], denied.json["result"]["allow"]) == (1, False, False)
    bundle = make(cordon.directory / "bundle")
    (bundle / "p.rego").write_text(
        'package cordon.request\n\ndecision := {"allow": input.phase == "request", "labels": {"a": "b"}}\n'
    )
    (bundle / "r.rego").write_text('package cordon.response\n\ndecision := {"allow": true}\n')
    document.write_text('{"phase": "request"}')
    allowed = cordon("policy", "eval", str(bundle), "-i", str(document))
    assert allowed.code == 0
    assert "allow" in allowed.out.splitlines()[0]
    assert "labels: a=b" in allowed.out
    assert cordon("policy", "eval", str(bundle), "-i", str(document), "--moment", "answer_end", "--json").json[
        "decision"
    ]["allow"]
    document.write_text("{")
    assert len(cordon("policy", "eval", str(bundle), "-i", str(document)).err.splitlines()) == 1


def test_a_bundle_s_own_tests_are_run(cordon: Installation) -> None:
    bundle = make(cordon.directory / "bundle")
    (bundle / "p.rego").write_text("package a\n\nx := 1\n")
    (bundle / "p_test.rego").write_text("package a_test\n\ntest_one if data.a.x == 1\n\ntest_two if data.a.x == 2\n")
    result = cordon("policy", "test", str(bundle))
    assert result.code == 1
    assert "p_test.rego:5: data.a_test.test_two" in result.out
    assert "1 passed, 1 failed, 0 skipped" in result.out
    assert cordon("policy", "test", str(bundle), "-k", "one", "--json").json["failed"] == 0
    assert cordon("policy", "test", str(bundle), "-k", "none").code == 1


# What is left behind


def test_nothing_that_is_written_can_be_read_by_others(cordon: Installation) -> None:
    os.umask(0)
    try:
        cordon("key", "create", "a", "--tenant", "acme")
        cordon("account", "first")
    finally:
        os.umask(0o022)
    var = cordon.directory / "var"
    assert stat.S_IMODE(var.stat().st_mode) == 0o700
    for file in (var / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory
