"""A whole Cordon whose log lies on PostgreSQL: calls, containment, the log's commands, a move, two at once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from cordon.backup import dump
from cordon.backup.manifest import File, Manifest
from cordon.errors import BackupError
from lineage.note import Signer
from tests.support.cli import Installation
from tests.support.gateway import ROOT, Cordon, cordon, wait_for
from tests.support.policies import MINIMAL, write
from tests.support.postgres import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def call(running: Cordon, key: str) -> httpx.Response:
    return httpx.get(f"{running.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})


def test_a_cordon_on_postgresql_does_all_that_one_on_sqlite_does(server: Postgres, tmp_path: Path) -> None:
    database = server.database()
    with cordon(lambda config: config.update(database=database)) as running:
        assert not (running.data_dir / "cordon-log.db").exists()
        key = running.key("ci-bot")
        answer = call(running, key)
        assert answer.status_code == 200
        intent, outcome = running.of_call(answer.headers["x-cordon-call"])
        assert (intent["kind"], outcome["kind"]) == ("call.intent", "call.outcome")
        assert running.cli("log", "show", str(intent["index"]))["index"] == intent["index"]

        for _ in range(10):  # The SOC follows the log: probing is contained.
            httpx.get(f"{running.url}/hr/salaries", headers={"authorization": f"Bearer {key}"})
        applied = running.until("containment.applied", target="acme/ci-bot")
        wait_for(lambda: call(running, key).status_code == 403)
        running.cli("release", applied["containment"], "--reason", "a drill")
        assert call(running, key).status_code == 200

        wait_for(lambda: running.log.checkpoint_size() > int(intent["index"]))
        proof = running.cli("log", "proof", str(intent["index"]))
        assert proof["index"] == intent["index"]
        running.cli("log", "verify")
        running.cli("log", "export", "-o", str(tmp_path / "log.jsonl"))
        assert len((tmp_path / "log.jsonl").read_text().splitlines()) > 10
        assert httpx.get(f"{running.control_url}/log/checkpoint").text.startswith("cordon/")
        findings = {row["check"]: row for row in running.cli("doctor")["findings"]}
        assert findings["checkpoint"]["level"] == "ok"

        old = running.kill("writer-0")
        running.restarted("writer-0", old)
        wait_for(lambda: call(running, key).status_code == 200)
        running.cli("log", "verify")
        assert server.password not in running.errors


def test_a_log_moves_and_the_same_cordon_goes_on_with_it(server: Postgres) -> None:
    database = server.database()
    with cordon() as running:
        key = running.key("ci-bot")
        assert call(running, key).status_code == 200
        invited = running.cli("account", "invite", "ana", "--role", "viewer")["link"]
        before = running.records()
        held = running.directory / "held"
        wait_for(lambda: running.log.checkpoint_size() >= len(before))
        held.write_text(running.cli("log", "checkpoint")["checkpoint"])
        running.close()

        config = yaml.safe_load(running.file.read_text()) | {"database": database}
        running.file.write_text(yaml.safe_dump(config))
        running.database = database
        moved = running.cli("log", "move")
        assert moved["records"] >= len(before)
        assert Path(moved["kept"]).name == "cordon-log.db.moved"
        assert moved["state_rows"] > 1 and (running.data_dir / "cordon.db.moved").exists()
        assert not (running.data_dir / "cordon.db").exists()
        running.start()
        assert call(running, key).status_code == 200, "the key lives on: the log knows it"
        assert httpx.get(running.control_url + invited[invited.index("/invitation/") :]).status_code == 200
        assert not (running.data_dir / "cordon.db").exists()
        assert running.records()[: len(before)] == before
        running.cli("log", "verify", "--since", str(held))


def test_two_cordons_serve_at_once_and_one_goes_on_when_the_other_dies(server: Postgres) -> None:
    database = server.database()

    def place(config: dict[str, object]) -> None:
        config["database"] = database

    with cordon(place) as first, cordon(place, start=False) as second:
        key = first.key("ci-bot")
        assert call(first, key).status_code == 200
        shutil.copytree(first.data_dir / "keys", second.data_dir / "keys")
        second.start()
        for running in (first, second):
            answer = call(running, key)
            assert answer.status_code == 200, "the key lives on both"
            for reader in (first, second):
                intent, outcome = reader.of_call(answer.headers["x-cordon-call"])
                assert (intent["kind"], outcome["kind"]) == ("call.intent", "call.outcome")

        link = second.cli("account", "invite", "ana", "--role", "viewer")["link"]
        for running in (first, second):
            page = httpx.get(running.control_url + link[link.index("/invitation/") :])
            assert page.status_code == 200, "accounts and links are the same on both"

        contained = second.cli("contain", "acme/ci-bot", "--reason", "a drill", "--for", "5m")
        commit = time.monotonic()
        wait_for(lambda: call(first, key).status_code == 403)
        assert time.monotonic() - commit < 1
        first.cli("release", contained["containment"], "--reason", "over")
        assert call(first, key).status_code == 200
        wait_for(lambda: call(second, key).status_code == 200)
        nodes = {record["node"] for record in first.records(0, "process.started")}
        assert len(nodes) == 2
        assert not first.records(0, "process.lost"), "the same slot of another node is another process"

        acknowledged = first.records()
        signed = second.log.checkpoint_size()
        os.kill(first.pid, signal.SIGKILL)
        died = time.monotonic()
        assert call(second, key).status_code == 200, "no call of the survivor is refused"
        wait_for(lambda: second.log.checkpoint_size() > max(signed, len(acknowledged)), 10)
        assert time.monotonic() - died < 3, "the log has one who signs again"
        assert second.records()[: len(acknowledged)] == acknowledged
        for _ in range(10):
            httpx.get(f"{second.url}/hr/salaries", headers={"authorization": f"Bearer {key}"})
        second.until("alert.raised", subject="acme/ci-bot")
        wait_for(lambda: call(second, key).status_code == 403)
        second.cli("log", "verify")


def test_the_page_s_example_is_what_works(server: Postgres, tmp_path: Path) -> None:
    """docs/postgresql.md: its SQL makes a role that suffices, its line of configuration reads, its commands run."""
    page = (ROOT / "docs/postgresql.md").read_text()
    (sql,), (line,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("sql", "yaml"))
    commands = [row.split()[1:] for row in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0].splitlines()]
    with server.connect() as db:
        for statement in sql.split(";\n"):
            if statement.strip():
                db.execute(statement)
    installation = Installation(tmp_path)
    assert installation("key", "create", "a", "--tenant", "acme").code == 0
    line = line.replace("db.example:5432", f"127.0.0.1:{server.port}").replace("?sslmode=verify-full", "")
    installation.file.write_text(line + installation.file.read_text())
    for command in commands:
        result = installation.program(*command, environment={"CORDON_DB_PASSWORD": "choose%20one"})
        assert result.code == 0, result.err


def test_a_backup_is_made_while_it_runs_and_restored_into_another_database(server: Postgres, tmp_path: Path) -> None:
    database, other = server.database(), server.database()
    copy, keys = tmp_path / "copy", tmp_path / "keys"
    with cordon(lambda config: config.update(database=database)) as running:
        key = running.key("ci-bot")
        assert call(running, key).status_code == 200
        link = running.cli("account", "invite", "ana", "--role", "viewer")["link"]
        accept = {"account": "ana", "password": "a word and 23 others"}
        with httpx.Client(base_url=running.control_url, headers={"sec-fetch-site": "same-origin"}) as http:
            assert http.post(link[link.index("/invitation/") :], data=accept).status_code == 303
            assert http.post("/api/v1/session", json=accept).status_code == 201
        open_link = running.cli("account", "invite", "ben", "--role", "viewer")["link"]
        tested = MINIMAL | {"a_test.rego": "package a_test\n\ntest_one if data.cordon.request.decision.allow\n"}
        rollout = running.cli("policy", "propose", str(write(tmp_path / "bundle", tested)))["rollout"]
        made = running.cli("backup", str(copy), "--keys", str(keys))
        assert "cordon.dump" in made["files"] and "cordon-log.db" not in made["files"]
        assert not any(server.password.encode() in path.read_bytes() for path in copy.iterdir())
        with server.connect(database) as db:
            held = db.execute("SELECT count(*) FROM cordon.records").fetchone()
        assert held is not None and held[0] >= made["records"]

    with cordon(lambda config: config.update(database=other), start=False) as second:
        done = second.cli("restore", str(copy), "--keys", str(keys))
        assert done["records"] >= made["records"]
        second.cli_fails("is not overwritten", "restore", str(copy))
        second.start()
        assert call(second, key).status_code == 200
        second.cli("policy", "stage", rollout, "shadow")
        assert second.until("policy.loaded", rollout=rollout, stage="shadow"), "its bundle came along"
        assert httpx.get(second.control_url + open_link[open_link.index("/invitation/") :]).status_code == 404
        with server.connect(other) as db:
            assert db.execute("SELECT count(*) FROM cordon_state.operator_sessions").fetchone() == (0,)
        assert httpx.post(f"{second.control_url}/api/v1/session", json=accept).status_code == 201
        assert second.cli("log", "verify")["wrong"] == 0


def test_a_dump_that_does_not_add_up_leaves_the_database_empty(server: Postgres, tmp_path: Path) -> None:
    database, other = server.database(), server.database()
    with cordon(lambda config: config.update(database=database), start=False) as first:
        first.key("ci-bot")
        first.cli("backup", str(tmp_path / "copy"), "--keys", str(tmp_path / "keys"))
    with server.connect(database) as db:
        db.execute(
            "UPDATE cordon.records SET data = convert_to(replace(convert_from(data, 'UTF8'), 'ci', 'xi'), 'UTF8')"
        )
    signer = Signer.parse((tmp_path / "keys/log.key").read_text())
    manifest = Manifest.read(tmp_path / "copy", signer.verifier)
    (tmp_path / "copy/cordon.dump").unlink()
    dump.dump(database, tmp_path / "copy/cordon.dump")
    files = tuple(File.of(tmp_path / "copy" / file.name) for file in manifest.files)
    manifest.model_copy(update={"files": files}).write(tmp_path / "copy", signer)
    with cordon(lambda config: config.update(database=other), start=False) as second:
        second.cli_fails("does not add up", "restore", str(tmp_path / "copy"), "--keys", str(tmp_path / "keys"))
        assert dump.schemas(other) == []
        assert not (second.data_dir / "cordon.db").exists()


def test_programs_that_are_missing_and_servers_that_are_away_are_named(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = server.database().replace(server.password, "wrong-password")
    with pytest.raises(BackupError, match="password authentication failed") as refused:
        dump.dump(wrong, tmp_path / "x")
    assert "wrong-password" not in str(refused.value)
    monkeypatch.setattr(dump, "_DEBIAN", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match="postgresql-client"):
        dump.dump(wrong, tmp_path / "x")
