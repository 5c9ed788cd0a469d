"""The doctor, on installations that something is wrong with."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from cordon.config import load
from cordon.doctor import machine
from cordon.doctor.examine import examine
from cordon.doctor.finding import Finding
from lineage.local import open_log
from lineage.record import encode
from lineage.state import open_state
from siem.decision_logs.delivery import Cursor
from tests.support import records
from tests.support.bundles import CONTENT, bundle_host, write_keys
from tests.support.certificates import Authority, save, write_certificate
from tests.support.cli import ROOT, Installation
from tests.support.collector import collecting
from tests.support.gateway import free_ports
from tests.support.opa import opa_server
from tests.support.policies import write


@pytest.fixture
def cordon(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def findings(cordon: Installation, check: str) -> list[Finding]:
    return [finding for finding in examine(cordon.file) if finding.check == check]


def only(cordon: Installation, check: str) -> Finding:
    found = findings(cordon, check)
    assert len(found) == 1, found
    return found[0]


def test_a_fresh_installation_has_nothing_to_mend(cordon: Installation) -> None:
    found = list(examine(cordon.file))
    assert [finding for finding in found if finding.level == "fail"] == []
    assert {"python", "configuration", "disk", "clock", "credentials", "bundle", "data"} <= {f.check for f in found}
    assert not (cordon.directory / "var").exists()


def test_it_changes_nothing(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")

    def state() -> dict[Path, bytes]:
        files = (path for path in (cordon.directory / "var").rglob("*") if path.is_file() and path.suffix == ".db")
        return {path: path.read_bytes() for path in files}

    before = state()
    list(examine(cordon.file))
    assert state() == before


def test_what_is_wrong_ends_the_command_with_1_and_says_what_to_do(cordon: Installation) -> None:
    cordon.file.write_text(cordon.file.read_text().replace("EU}]", "EU, credential: env:CORDON_TEST_NOPE}]"))
    result = cordon("doctor")
    assert result.code == 1
    assert "fail  credentials     endpoint crm-eu: the environment variable CORDON_TEST_NOPE is not set" in result.out
    assert "→ set it where Cordon is started" in result.out
    as_json = cordon("doctor", "--json").json
    assert as_json["failed"] == 1


def test_every_finding_that_is_not_in_order_has_a_remedy(cordon: Installation) -> None:
    cordon.file.write_text(cordon.file.read_text().replace("data_dir: var", "data_dir: var\nlog: {level: nope}"))
    assert all(finding.remedy for finding in examine(cordon.file) if finding.level != "ok")


def test_files_that_others_can_read_are_named(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    assert only(cordon, "modes").level == "ok"
    key = cordon.directory / "var/keys/log.key"
    key.chmod(0o640)
    finding = only(cordon, "modes")
    assert finding.level == "fail"
    assert f"chmod go-rwx {key}" in finding.remedy


def test_a_postgresql_server_that_does_not_answer_is_named(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    (port,) = free_ports(1)
    cordon.file.write_text(f"database: postgresql://u:hunter2@127.0.0.1:{port}/log\n" + cordon.file.read_text())
    finding = only(cordon, "log")
    assert finding.level == "fail"
    assert f"127.0.0.1:{port}" in finding.text and "hunter2" not in finding.text
    result = cordon("log", "verify")
    assert result.code != 0 and "hunter2" not in result.err + result.out


def test_a_damaged_database_is_named(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    database = cordon.directory / "var/cordon-log.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(database.read_bytes())
    data[4096 : 4096 * 3] = b"\xff" * 8192
    database.write_bytes(data)
    assert only(cordon, "log database").level == "fail"


def test_a_port_of_another_program_is_named(cordon: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        text = cordon.file.read_text().replace('gateway: {listen: "127.0.0.1:0"', f'gateway: {{listen: "{listen}"')
        cordon.file.write_text(text)
        found = findings(cordon, "ports")
    assert (found[0].level, found[0].text) == ("fail", f"{listen} is in use by another program")
    assert found[1].level == "ok"


@pytest.mark.parametrize(("days", "level"), [(-3, "fail"), (10, "warn"), (300, "ok")])
def test_certificates_are_told_by_the_days_they_last(cordon: Installation, days: float, level: str) -> None:
    write_certificate(cordon.directory / "a.pem", cordon.directory / "a.key", days=days)
    text = cordon.file.read_text().replace("limits:", "tls: {certificate: a.pem, key: a.key}, limits:")
    cordon.file.write_text(text)
    assert only(cordon, "certificates").level == level


def test_a_chain_in_the_wrong_order_is_told(cordon: Installation) -> None:
    root = Authority()
    issued = Authority("Between", root).issue(purposes=None)
    issued.write(cordon.directory / "a.pem", cordon.directory / "a.key")
    text = cordon.file.read_text().replace("limits:", "tls: {certificate: a.pem, key: a.key}, limits:")
    cordon.file.write_text(text)
    assert not any("is not issued by" in finding.text for finding in findings(cordon, "certificates"))
    save(cordon.directory / "a.pem", issued.certificate, root.certificate)
    assert any("is not issued by CN=Test Root" in finding.text for finding in findings(cordon, "certificates"))


@pytest.mark.parametrize(("hours", "level"), [(-3, "fail"), (2, "warn"), (48, "ok"), (None, "warn")])
def test_revocation_lists_are_told_by_when_they_are_due(cordon: Installation, hours: float | None, level: str) -> None:
    authority = Authority()
    write_certificate(cordon.directory / "a.pem", cordon.directory / "a.key", days=300)
    save(cordon.directory / "ca.pem", authority.certificate)
    crl = "" if hours is None else ", crl: [a.crl]"
    if hours is not None:
        save(cordon.directory / "a.crl", authority.revoke(hours=hours))
    tls = f"tls: {{certificate: a.pem, key: a.key, client_ca: ca.pem{crl}}}, limits:"
    cordon.file.write_text(cordon.file.read_text().replace("limits:", tls))
    assert only(cordon, "revocation").level == level
    assert any(finding.text.startswith("client_ca: valid") for finding in findings(cordon, "certificates"))


def test_upstreams_are_connected_to_and_nothing_is_sent(cordon: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}"
        cordon.file.write_text(cordon.file.read_text().replace("http://127.0.0.1:9", url))
        assert only(cordon, "upstreams").level == "ok"
        connection, _ = upstream.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(1) == b""
    assert only(cordon, "upstreams").level == "warn"


def test_an_upstream_without_tls_where_it_is_asked_for_is_told(cordon: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        url = f"https://127.0.0.1:{upstream.getsockname()[1]}"
        cordon.file.write_text(cordon.file.read_text().replace("http://127.0.0.1:9", url))
        upstream.settimeout(0.01)
        assert only(cordon, "upstreams").level == "warn"


def test_an_unsafe_option_is_told(cordon: Installation) -> None:
    cordon.file.write_text(cordon.file.read_text().replace("control: {", "control: {unsafe_open_metrics: true, "))
    finding = only(cordon, "settings")
    assert (finding.level, finding.text) == ("warn", "control.unsafe_open_metrics: it is on")


def test_a_bundle_that_is_refused_is_named_with_its_line(cordon: Installation) -> None:
    bundle = cordon.directory / "bundle"
    bundle.mkdir()
    (bundle / "p.rego").write_text('package cordon.request\n\ndecision := {"allow": http.send({})}\n')
    text = cordon.file.read_text().replace(str(ROOT / "policies/bundles/starter"), "bundle")
    cordon.file.write_text(text)
    assert any(finding.level == "fail" and "p.rego:3" in finding.text for finding in findings(cordon, "bundle"))


def test_a_call_without_an_outcome_is_told(cordon: Installation) -> None:
    config = load(cordon.file)
    at = int(time.time() * 1000) - int(config.gateway.limits.total_time * 1000) - 60_000
    with open_log(config.data_dir, config.lineage) as log:
        for kind, more in (("call.intent", {}), ("call.intent", {}), ("call.outcome", {"intent": 0})):
            log.append(encode({"v": 1, "kind": kind, "at": at, "boot": "x", **more}))
    finding = only(cordon, "calls")
    assert (finding.level, finding.text) == ("warn", "1 calls were sent and have no outcome, such as record 1")


def test_records_from_the_future_are_told(cordon: Installation) -> None:
    config = load(cordon.file)
    with open_log(config.data_dir, config.lineage) as log:
        record = {"v": 1, "kind": "process.stopped", "at": int(time.time() * 1000) + 3_600_000, "boot": "x"}
        log.append(encode(record))
    assert only(cordon, "clock").level == "warn"


def test_a_lost_key_and_a_foreign_checkpoint_are_told(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    vkey = cordon.directory / "var/keys/log.vkey"
    text = vkey.read_text()
    vkey.unlink()
    assert only(cordon, "checkpoint").level == "fail"
    place = text.index("+", text.index("+") + 1) + 10  # in the key itself, whose base64 may hold a plus sign too
    vkey.write_text(text.replace(text[place], "A" if text[place] != "A" else "B", 1))
    assert only(cordon, "checkpoint").level == "fail"


def test_little_room_is_told(cordon: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LITTLE_FREE", 2**62)
    assert only(cordon, "disk").level == "warn"
    monkeypatch.setattr(machine, "LEAST_FREE", 2**62)
    assert only(cordon, "disk").level == "fail"


def test_too_few_files_and_too_much_memory_are_told(cordon: Installation) -> None:
    text = cordon.file.read_text()
    cordon.file.write_text(text.replace("limits: {", "limits: {connections: 90000000, "))
    assert "ulimit" in only(cordon, "limits").remedy
    cordon.file.write_text(text.replace("limits: {", "limits: {buffered: 1000000000000000, "))
    assert "gateway.limits.buffered" in only(cordon, "limits").remedy


def test_a_check_that_breaks_is_a_finding_itself(cordon: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "disk", lambda _config: 1 / 0)
    finding = only(cordon, "disk")
    assert (finding.level, finding.text) == ("fail", "could not be checked: ZeroDivisionError: division by zero")
    assert findings(cordon, "bundle")


def test_it_says_who_vouches_for_the_bundle(cordon: Installation) -> None:
    assert findings(cordon, "signature") == []
    private, public = write_keys(cordon.directory)
    bundle = Path(shutil.copytree(ROOT / "policies/bundles/starter", cordon.directory / "signed"))
    verified = f"policy: {{bundle: {bundle}, verification: {{key: {public}}}}}"
    cordon.file.write_text(re.sub("policy: .*", verified, cordon.file.read_text()))
    assert "the bundle is not signed" in only(cordon, "bundle").text
    assert cordon("policy", "sign", str(bundle), "--key", str(private)).code == 0
    assert only(cordon, "signature").level == "ok"
    assert str(public) in only(cordon, "signature").text
    with bundle_host(CONTENT) as host:
        cordon.file.write_text(re.sub("policy: .*", f"policy: {{bundle: '{host.url}'}}", cordon.file.read_text()))
        assert only(cordon, "signature").level == "warn"
        assert only(cordon, "bundle").level == "ok"
        host.put(CONTENT, 503)
        assert "the server answered 503" in only(cordon, "bundle").text
        assert only(cordon, "bundle").level == "fail"


def test_a_collector_that_answers_and_takes_no_events_and_one_that_is_behind_are_told_of(cordon: Installation) -> None:
    cordon("key", "create", "a", "--tenant", "acme")
    with collecting() as collector:
        cordon.file.write_text(
            cordon.file.read_text()
            + f"decision_logs:\n  - {{id: refusing, url: '{collector.url}'}}\n  - {{id: late, file: logs.jsonl}}\n"
            + "  - {id: done, file: done.jsonl}\n"
        )
        config = load(cordon.file)
        assert [each.level for each in findings(cordon, "decision logs")] == ["ok"] * 3, "nothing was delivered yet"
        with open_log(config.data_dir, config.lineage) as log:
            place = log.append(records.intent(1_700_000_000_000))
        state = open_state(config.state_path)
        for name, at, lost in (("refusing", place, "refused"), ("late", place, ""), ("done", place + 1, "")):
            Cursor(state, name, lambda _: None).store(at, lost)
        state.dispose()
        found = findings(cordon, "decision logs")
    assert [each.level for each in found] == ["ok", "fail", "ok", "warn", "ok"]
    assert found[1].text.startswith("refusing does not take events (refused): 1 records wait")
    assert found[3].text.startswith("late is behind: 1 records wait in the log, the oldest event for ")
    assert found[1].remedy and found[3].remedy
    assert collector.events == []


def test_an_opa_server_that_does_not_say_what_to_mask_is_told_of(cordon: Installation) -> None:
    authz = 'package system.authz\n\ndefault allow := false\n\nallow if not "mask" in input.path\n'
    own = write(cordon.directory / "own", {".manifest": '{"revision": "r9", "roots": ["system"]}', "authz.rego": authz})
    destination = "decision_logs:\n  - {id: file, file: logs.jsonl}\n"
    with opa_server("--authorization=basic", "--bundle", str(own)) as opa:
        policy = f"policy: {{engine: opa, url: '{opa.url}', push: false}}\n"
        lines = cordon.file.read_text().splitlines(keepends=True)
        cordon.file.write_text("".join(x for x in lines if not x.startswith("policy:")) + policy + destination)
        told, file = findings(cordon, "decision logs")
    assert (told.level, file.level) == ("warn", "ok")
    assert "refused Cordon itself (401)" in told.text and "without input and result" in told.text
    assert "v1/data/system/log/mask" in told.remedy


def test_the_destinations_of_decision_logs_are_looked_at_without_an_event(cordon: Installation) -> None:
    away = free_ports(1)[0]
    with collecting() as collector:
        collector.answers = [404, 401]
        cordon.file.write_text(
            cordon.file.read_text()
            + f"decision_logs:\n  - {{id: good, url: '{collector.url}'}}\n  - {{id: token, url: '{collector.url}'}}\n"
            + f"  - {{id: away, url: 'http://127.0.0.1:{away}'}}\n  - {{id: file, file: logs.jsonl}}\n"
            + "  - {id: nowhere, file: none/logs.jsonl}\n"
            + f"  - {{id: secret, url: '{collector.url}', credential: 'env:CORDON_TEST_NOPE'}}\n"
        )
        found = {finding.text.partition(":")[0]: finding for finding in findings(cordon, "decision logs")}
    assert {name: finding.level for name, finding in found.items()} == {
        "good": "ok", "token": "fail", "away": "fail", "file": "ok", "nowhere": "fail", "secret": "fail",
    }  # fmt: skip
    assert all(finding.remedy for finding in found.values() if finding.level == "fail")
    assert collector.events == [] and {method for method, _, _ in collector.requests} == {"GET"}
    assert not (cordon.directory / "logs.jsonl").exists()
