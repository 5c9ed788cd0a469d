"""Backup and restore on SQLite: a copy that verifies whatever goes on meanwhile, and nothing half-done."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from cordon.backup import restore as restoring
from cordon.backup.files import copy_database
from cordon.backup.manifest import NAME, Manifest
from cordon.config import load
from cordon.doctor.rollouts import examine_rollouts
from lineage.actions import Stamp, erase_tenant
from lineage.bundles import BundleStore
from lineage.erasure import remembered
from lineage.keys import load_master_key, load_verifier
from lineage.ledger import writer_lock
from lineage.local import open_log
from lineage.paths import Paths
from lineage.record import encode
from lineage.settings import Lineage
from lineage.side import TenantKeys, blob_digest, seal
from lineage.sqlite_side import SqliteSide
from lineage.state import open_state
from policies.bundle import bundle_of_archive
from siem.console.tables import ACCOUNTS, INVITATIONS, SESSIONS
from tests.support.cli import Installation, Result
from tests.support.policies import MINIMAL, write
from tests.support.users import ANOTHER, as_user

_SIGNED_IN = "5e" * 32
FILES = ("cordon-log.db", "cordon-side.db", "cordon.db")


@pytest.fixture
def cordon(tmp_path: Path) -> Installation:
    """An installation with records, an account, its session, an invitation, and a blob that a record names."""
    made = _installation(tmp_path / "one")
    made("key", "create", "bot", "--tenant", "acme")
    made("account", "invite", "alice", "--role", "viewer")
    with _state(made) as state:
        state.execute(insert(ACCOUNTS).values(name="bob", password="hash", roles="admin", active=True, created_at=1))
        state.execute(insert(SESSIONS).values(digest=_SIGNED_IN, account="bob", started_at=1, seen_at=1, source="here"))
    _named_blob(made)
    return made


@contextmanager
def _state(one: Installation) -> Iterator[Connection]:
    engine = open_state(one.directory / "var/cordon.db")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def _installation(directory: Path) -> Installation:
    directory.mkdir()
    return Installation(directory)


def _named_blob(one: Installation) -> None:
    data_dir = one.directory / "var"
    with closing(SqliteSide(Paths(data_dir).side)) as side, open_log(data_dir, Lineage()) as log:
        blob = seal(TenantKeys(side, load_master_key(data_dir)).get("acme"), "acme", b"input")
        side.save([(2**41, blob)])
        head = Stamp.now("t").head("call.intent")
        log.append(encode(head | {"call": "c", "attempt": 1, "tenant": "acme", "side": blob_digest(blob)}))


def backup(one: Installation, name: str = "copy", *options: str) -> tuple[Path, Path]:
    copy, keys = one.directory / name, one.directory / f"{name}.keys"
    result = one("backup", str(copy), "--keys", str(keys), *options)
    assert result.code == 0, result.err
    return copy, keys


def restored(one: Installation, copy: Path, *options: str, name: str = "two") -> tuple[Installation, Result]:
    other = _installation(one.directory.parent / name)
    return other, other("restore", str(copy), *options)


def untouched(other: Installation) -> bool:
    """Whether a restoring left nothing: no database, no keys, nothing half-done."""
    left = {path.name for path in (other.directory / "var").iterdir()}
    return left <= {"run", "keys"} and not list((other.directory / "var").glob("keys/*"))


def test_what_is_backed_up_is_restored_elsewhere_and_goes_on(cordon: Installation) -> None:
    copy, keys = backup(cordon)
    assert sorted(path.name for path in copy.iterdir()) == sorted([*FILES, NAME])
    assert all(path.stat().st_mode & 0o077 == 0 for path in (copy, keys, *keys.iterdir(), *copy.glob("*.db")))
    before = cordon("log", "checkpoint").out
    other, result = restored(cordon, copy, "--keys", str(keys))
    assert result.code == 0, result.err
    assert "give a checkpoint held outside" in result.err and "keys that were revoked since" in result.err
    report = other("log", "verify", "--json").json
    assert report["wrong"] == 0
    assert {c["name"]: c["checked"] for c in report["checks"]}["blobs beside the log"] == 1
    assert [key["name"] for key in other("key", "list", "--json").json] == ["bot"]
    assert [one["name"] for one in other("account", "list", "--json").json["accounts"]] == ["bob"]
    assert other("key", "create", "later", "--tenant", "acme").code == 0
    (other.directory / "before").write_text(before)
    assert other("log", "verify", "--since", str(other.directory / "before")).code == 0
    assert {path.name for path in (other.directory / "var").iterdir()} == {"run", "keys", *FILES}


def test_bundles_that_are_rolled_out_come_along_and_are_in_force_where_they_were(cordon: Installation) -> None:
    tested = MINIMAL | {"a_test.rego": "package a_test\n\ntest_one if data.cordon.request.decision.allow\n"}
    proposed = cordon("policy", "propose", str(write(cordon.directory / "bundle", tested)), "--json").json
    with as_user(ANOTHER):
        assert cordon("policy", "approve", proposed["rollout"]).code == 0
    assert cordon("policy", "stage", proposed["rollout"], "live").code == 0
    before = cordon("policy", "bundles", "--json").json
    copy, keys = backup(cordon)
    other, result = restored(cordon, copy, "--keys", str(keys))
    assert result.code == 0, result.err
    assert other("policy", "bundles", "--json").json == before and before[0]["stage"] == "live"
    with closing(SqliteSide(Paths(other.directory / "var").side)) as side:
        archive = BundleStore(side).get(proposed["digest"])
    assert archive is not None and bundle_of_archive(archive, "restored").revision == proposed["revision"]
    assert [(each.level, "live" in each.text) for each in examine_rollouts(load(other.file))] == [("ok", True)]
    assert other("policy", "back", "--json").json["from"] == proposed["rollout"], "and what is done to it goes on"


def test_sessions_and_links_do_not_come_back_to_life_with_a_backup(cordon: Installation) -> None:
    with _state(cordon) as state:
        (link,) = state.scalars(select(INVITATIONS.c.digest))
        assert state.scalar(select(SESSIONS.c.digest)) == _SIGNED_IN
    copy, keys = backup(cordon)
    assert not any(digest.encode() in path.read_bytes() for digest in (_SIGNED_IN, link) for path in copy.iterdir())
    other, result = restored(cordon, copy, "--keys", str(keys))
    assert result.code == 0 and "accounts" in result.err
    with _state(other) as state:
        assert not state.execute(select(SESSIONS)).all() and not state.execute(select(INVITATIONS)).all()
        assert state.scalars(select(ACCOUNTS.c.name)).all() == ["bob"]
    with _state(cordon) as state:
        assert state.execute(select(SESSIONS)).all() and state.execute(select(INVITATIONS)).all()


def test_the_keys_are_left_out_unless_asked_for_and_never_lie_within(cordon: Installation) -> None:
    result = cordon("backup", str(cordon.directory / "copy"), "--json")
    assert result.code == 0 and "keys are not in it" in result.err
    assert result.json["keys"] == "" and result.json["records"] == 3 and result.json["files"] == list(FILES)
    other, refused = restored(cordon, cordon.directory / "copy")
    assert refused.code == 1 and "--keys DIRECTORY" in refused.err and untouched(other)
    inside = cordon("backup", str(cordon.directory / "b"), "--keys", str(cordon.directory / "b/keys"))
    assert inside.code == 1 and "must not lie in the backup" in inside.err
    assert not (cordon.directory / "b").exists()
    secret = (cordon.directory / "var/keys/log.key").read_bytes().split(b"+")[-1].strip()
    assert not any(secret in path.read_bytes() for path in (cordon.directory / "copy").iterdir())


def test_an_installation_that_has_its_keys_needs_no_others(cordon: Installation) -> None:
    copy, _ = backup(cordon)
    for path in (cordon.directory / "var").glob("cordon*"):
        path.unlink()
    assert cordon("restore", str(copy)).code == 0
    assert cordon("log", "verify").code == 0


def test_a_copy_made_under_steady_writing_is_of_one_moment_and_comes_to_an_end(tmp_path: Path) -> None:
    source = tmp_path / "busy.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE a (n INTEGER, filler BLOB)")
        db.executemany("INSERT INTO a VALUES (?, zeroblob(4000))", [(0,)] * 8_000)
        db.execute("CREATE TABLE b (n INTEGER)")
        db.execute("INSERT INTO b VALUES (0)")
    stop = threading.Event()
    steps: list[int] = []

    def write() -> None:
        with closing(sqlite3.connect(source, timeout=5, isolation_level=None)) as db:
            number = 0
            while not stop.is_set():
                number += 1
                db.execute("BEGIN IMMEDIATE")
                db.execute("UPDATE a SET n = ? WHERE rowid IN (1, 7999)", (number,))
                db.execute("UPDATE b SET n = ?", (number,))
                db.execute("COMMIT")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        copy_database(source, tmp_path / "copy.db", steps.append)
    finally:
        stop.set()
        thread.join()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        first, last, other = db.execute(
            "SELECT (SELECT n FROM a WHERE rowid = 1), (SELECT n FROM a WHERE rowid = 7999), (SELECT n FROM b)"
        ).fetchone()
        assert first == last == other
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(steps) > 5 and sum(steps) == (tmp_path / "copy.db").stat().st_size


def test_nothing_that_is_there_is_overwritten(cordon: Installation) -> None:
    copy, keys = backup(cordon)
    before = (copy / NAME).read_bytes()
    again = cordon("backup", str(copy))
    assert again.code == 1 and "is there already" in again.err and (copy / NAME).read_bytes() == before
    over = cordon("restore", str(copy))
    assert over.code == 1 and "is not overwritten" in over.err
    other = _installation(cordon.directory.parent / "two")
    other("key", "create", "mine", "--tenant", "acme")
    mixed = other("restore", str(copy), "--keys", str(keys))
    assert mixed.code == 1 and "key of another log" in mixed.err
    assert [key["name"] for key in other("key", "list", "--json").json] == ["mine"]


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1_000)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _account(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE invitations SET roles = '[\"admin\"]'")


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        *((name, harm, "cut or changed") for name in FILES for harm in (_cut, _flip)),
        *((name, Path.unlink, "is missing") for name in FILES),
        (NAME, Path.unlink, "is no backup, or one that broke off"),
        (NAME, lambda path: path.write_bytes(path.read_bytes().replace(b'"records": 3', b'"records": 2')), "changed"),
    ],
)
def test_a_copy_that_was_cut_or_changed_is_refused_and_leaves_nothing(
    cordon: Installation, name: str, harm: Callable[[Path], object], said: str
) -> None:
    copy, keys = backup(cordon)
    harm(copy / name)
    other, result = restored(cordon, copy, "--keys", str(keys))
    assert result.code == 1 and said in result.err, result.err
    assert untouched(other)


def test_a_manifest_made_to_fit_is_not_signed(cordon: Installation) -> None:
    copy, keys = backup(cordon)
    _flip(copy / "cordon.db")
    own = _installation(cordon.directory.parent / "forger")
    own("key", "create", "x", "--tenant", "acme")
    forged, forged_keys = backup(own)
    shutil.copy(forged / NAME, copy / NAME)
    other, result = restored(cordon, copy, "--keys", str(keys))
    assert result.code == 1 and "another log" in result.err and untouched(other)
    third, wrong = restored(cordon, copy, "--keys", str(forged_keys), name="three")
    assert wrong.code == 1 and untouched(third)


def test_another_master_key_is_noticed_before_anything_is_in_place(cordon: Installation) -> None:
    copy, keys = backup(cordon)
    (keys / "master.key").write_bytes(os.urandom(32))
    other, result = restored(cordon, copy, "--keys", str(keys))
    assert result.code == 1 and "master.key" in result.err and untouched(other)


def test_a_manifest_is_no_checkpoint(cordon: Installation) -> None:
    copy, _ = backup(cordon)
    since = cordon("log", "verify", "--since", str(copy / NAME), "--json")
    assert since.code == 1
    assert Manifest.read(copy, load_verifier(cordon.directory / "var")).records == 3


def test_it_tells_what_the_log_lacks_of_a_checkpoint_held_outside(cordon: Installation) -> None:
    copy, keys = backup(cordon)
    for name in ("a", "b"):
        cordon("key", "create", name, "--tenant", "acme")
    outside = cordon.directory / "outside"
    outside.write_text(cordon("log", "checkpoint").out)
    _, result = restored(cordon, copy, "--keys", str(keys), "--since", str(outside), "--json")
    assert result.code == 0 and result.json["lacks"] == 2 and "from index 3 on" in result.err
    _, exact = restored(cordon, backup(cordon, "new")[0], "--keys", str(keys), "--since", str(outside), name="three")
    assert exact.code == 0 and "holds all that the given checkpoint covers" in exact.err
    forger = _installation(cordon.directory.parent / "forger")
    forger("key", "create", "x", "--tenant", "acme")
    outside.write_text(forger("log", "checkpoint").out)
    other, foreign = restored(cordon, copy, "--keys", str(keys), "--since", str(outside), name="four")
    assert foreign.code == 1 and untouched(other)


def test_a_log_that_does_not_add_up_gives_no_backup(cordon: Installation) -> None:
    with closing(sqlite3.connect(cordon.directory / "var/cordon-log.db", isolation_level=None)) as db:
        db.execute("UPDATE records SET data = CAST(replace(data, 'bot', 'bat') AS BLOB)")
    result = cordon("backup", str(cordon.directory / "copy"), "--keys", str(cordon.directory / "keys"))
    assert result.code == 1 and "does not add up" in result.err
    assert not list(cordon.directory.glob("*copy*")) and not list(cordon.directory.glob("*keys*"))


def test_a_disk_that_fills_up_leaves_no_backup(cordon: Installation) -> None:
    """A limit on the size of files is the nearest to a full disk that needs no rights: each write beyond it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        result = cordon("backup", str(cordon.directory / "copy"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert result.code == 1 and "cordon" in result.err and "Traceback" not in result.err
    assert not list(cordon.directory.glob("*copy*")) and not list(cordon.directory.glob(".copy*"))
    backup(cordon)


def test_a_restoring_that_broke_off_is_finished_by_the_same_command(cordon: Installation) -> None:
    copy, keys = backup(cordon)
    other = _installation(cordon.directory.parent / "two")
    var = other.directory / "var"
    (var / ".restored.unfinished").mkdir(parents=True)
    (var / ".restored.unfinished/cordon.db").write_text("half")
    shutil.copytree(keys, var / "keys")
    shutil.copy(copy / "cordon.db", var)
    result = other("restore", str(copy))
    assert result.code == 0, result.err
    assert other("log", "verify").code == 0


def test_without_all_that_lies_beside_it_no_log_is_restored(
    cordon: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Cordon that starts on a log alone would make its tenants new keys, and the restoring could not go on."""
    copy, keys = backup(cordon)
    other = _installation(cordon.directory.parent / "two")
    put = restoring._put

    def full(checked: Path, path: Path) -> None:
        if path.name == "cordon-side.db":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(checked, path)

    monkeypatch.setattr(restoring, "_put", full)
    assert other("restore", str(copy), "--keys", str(keys)).code == 1
    assert not (other.directory / "var/cordon-log.db").exists()
    monkeypatch.undo()
    result = other("restore", str(copy))
    assert result.code == 0, result.err
    assert other("log", "verify").code == 0


def test_beside_a_running_writer_nothing_is_restored(cordon: Installation) -> None:

    copy, _ = backup(cordon)
    with writer_lock(cordon.directory / "var"):
        result = cordon("restore", str(copy))
    assert result.code == 1 and "another log writer" in result.err


def test_a_tenant_erased_after_the_backup_stays_erased(cordon: Installation) -> None:
    copy, keys = backup(cordon)
    assert cordon("tenant", "erase", "acme", "--yes").code == 0
    for path in (cordon.directory / "var").glob("cordon*"):
        path.unlink()
    result = cordon("restore", str(copy), "--json")
    assert result.code == 0 and result.json["erased"] == ["acme"], result.err
    _is_erased(cordon)
    # On another machine, with the keys' copy of before: only who is told knows.
    other, told = restored(cordon, copy, "--keys", str(keys), "--erased", "acme", "--json")
    assert told.code == 0 and told.json["erased"] == ["acme"]
    _is_erased(other)
    # With a copy of the keys of after it, nobody has to be told.
    third, silent = restored(cordon, copy, "--keys", str(cordon.directory / "var/keys"), "--json", name="three")
    assert silent.code == 0 and silent.json["erased"] == ["acme"]
    _is_erased(third)


def _is_erased(one: Installation) -> None:
    data_dir = one.directory / "var"
    with closing(SqliteSide(Paths(data_dir).side)) as side:
        assert side.wrapped_key("acme") == (None,)
    assert {row["tenant"]: row["state"] for row in one("tenant", "list", "--json").json}["acme"] == "erased"
    assert one("key", "list", "--json").json == []
    assert one("log", "verify").code == 0
    assert set(remembered(data_dir)) == {"acme"}


def test_an_erasure_that_the_log_has_is_kept_too(cordon: Installation) -> None:
    data_dir = cordon.directory / "var"
    with open_log(data_dir, Lineage()) as log:
        log.append(encode(erase_tenant(Stamp.now("t"), tenant="acme", by="x")))
    copy, keys = backup(cordon)
    other, result = restored(cordon, copy, "--keys", str(keys), "--json")
    assert result.code == 0 and json.loads(result.out)["erased"] == []
    _is_erased(other)
