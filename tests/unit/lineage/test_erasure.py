"""Erasing a tenant: what goes, what stays, and that nothing brings it back."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from lineage.actions import Stamp, create_key, erase_tenant
from lineage.control import ControlState, load
from lineage.erasure import catch_up, destroy, erased_path, has_traces, remember, remembered
from lineage.errors import KeyFileError, RecordError, SideError
from lineage.keys import load_master_key, load_verifier
from lineage.local import open_log
from lineage.paths import Paths
from lineage.record import encode
from lineage.settings import Lineage
from lineage.side import SideStore, TenantKeys, blob_digest, seal
from lineage.sqlite_side import SqliteSide
from lineage.tokens import Kept, Scope, TokenStore
from lineage.verify import verify

NOW = Stamp(1_000, "b")


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SideStore]:
    with closing(SqliteSide(Paths(tmp_path).side)) as store:
        yield store


def keyed(tenant: str, name: str = "bot") -> bytes:
    return encode(create_key(NOW, name=name, tenant=tenant, by="alice")[1])


def erased(tenant: str) -> bytes:
    return encode(erase_tenant(NOW, tenant=tenant, by="alice"))


def intent(tenant: str, digest: str, number: int) -> bytes:
    return encode(
        NOW.head("call.intent") | {"call": f"c{number}", "attempt": 1, "tenant": tenant, "side": digest, "path": "/x"}
    )


def test_the_record_ends_the_keys_of_that_tenant_alone_and_it_gets_no_new_ones(tmp_path: Path) -> None:
    with open_log(tmp_path, Lineage()) as log:
        for tenant in ("acme", "globex", "acme"):
            log.append(keyed(tenant))
        log.append(erased("acme"))
        assert [key.tenant for key in log.control.keys.values()] == ["globex"]
        with pytest.raises(RecordError, match="erased"):
            log.append(keyed("acme"))
        log.append(keyed("globex", "other"))
        assert load(log.control.dump()) == log.control
    with open_log(tmp_path, Lineage()) as log:
        assert log.control.erased["acme"].at == 1_000
        assert load(log.control.dump()) == log.control


def test_a_second_erasure_keeps_the_time_of_the_first() -> None:
    first = ControlState().fold({"kind": "admin.tenant_erased", "tenant": "a", "at": 1, "by": "x"}, 0)
    assert first.fold({"kind": "admin.tenant_erased", "tenant": "a", "at": 9, "by": "y"}, 1).erased["a"].at == 1


def test_blobs_and_tokens_of_that_tenant_alone_are_deleted_and_the_log_still_verifies(
    tmp_path: Path, side: SideStore
) -> None:
    keys = TenantKeys(side, load_master_key(tmp_path))
    names = {}
    with (
        open_log(tmp_path, Lineage()) as log,
        closing(TokenStore(Paths(tmp_path).side, most=5_000)) as tokens,
    ):
        # A tenant whose name begins like the other's, and one that is named in the other's records.
        for tenant in ("acme", "acme-eu", "acmf"):
            blobs = [seal(keys.get(tenant), tenant, str(n).encode()) for n in range(1_200 if tenant == "acme" else 2)]
            side.save([(1, blob) for blob in blobs])
            names[tenant] = [blob_digest(blob) for blob in blobs]
            for number, digest in enumerate(names[tenant]):
                log.append(intent(tenant, digest, number))
            tokens.keep(Scope(f"{tenant}/bob", tenant.encode().ljust(16)), [Kept("[A]", b"m" * 16, False, b"s")], 0, 99)
        nasty = encode(
            NOW.head("call.intent")
            | {"call": "n", "attempt": 1, "tenant": "acmf", "side": names["acmf"][0], "labels": {"tenant": "acme"}}
        )
        log.append(nasty)
        side.erase_key("acme")
        seen: list[int] = []
        gone = destroy("acme", side, tokens, log.reader, seen.append)
        assert (gone.blobs, gone.tokens, sum(seen)) == (1_200, 1, log.reader.size())
        assert destroy("acme", side, tokens, log.reader) == type(gone)(0, 0)
        assert all(side.load(digest) is None for digest in names["acme"])
        assert all(side.load(digest) for tenant in ("acme-eu", "acmf") for digest in names[tenant])
        assert tokens.find(Scope("acme-eu/bob", b"acme-eu".ljust(16)), "[A]", 0)
    with open_log(tmp_path, Lineage()) as log:
        report = verify(log.reader, [load_verifier(tmp_path)], None, side)
        assert report.wrong == 0
    with pytest.raises(SideError, match="destroyed"):
        TenantKeys(side, load_master_key(tmp_path)).get("acme")


def test_the_keys_bytes_are_in_no_file_any_more(tmp_path: Path, side: SideStore) -> None:
    TenantKeys(side, load_master_key(tmp_path)).get("acme")
    row = side.wrapped_key("acme")
    assert row is not None and row[0] is not None
    side.erase_key("acme")
    assert all(row[0] not in path.read_bytes() for path in tmp_path.glob("cordon-side.db*"))


def test_the_file_of_erased_tenants_is_private_and_survives_a_line_that_broke_off(tmp_path: Path) -> None:
    assert remembered(tmp_path) == {}
    remember(tmp_path, {"acme": 5})
    with erased_path(tmp_path).open("ab") as file:
        file.write(b'{"tenant": "glo')
    assert remembered(tmp_path) == {"acme": 5}
    remember(tmp_path, {"globex": 6, "acme": 7})
    assert remembered(tmp_path) == {"acme": 5, "globex": 6}
    assert erased_path(tmp_path).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("line", [b"x", b"[]", b'{"tenant": "../x", "at": 1}', b'{"tenant": "a", "at": "1"}', b"1"])
def test_a_line_that_names_no_tenant_is_an_error_and_not_ignored(tmp_path: Path, line: bytes) -> None:
    remember(tmp_path, {"acme": 5})
    with erased_path(tmp_path).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(KeyFileError, match="erased:2"):
        remembered(tmp_path)


def test_what_a_backup_brought_back_is_destroyed_again_and_told_again(tmp_path: Path, side: SideStore) -> None:
    keys = TenantKeys(side, load_master_key(tmp_path), seconds=0)
    keys.get("acme")
    keys.get("globex")
    keys.get("other")
    remember(tmp_path, {"acme": 5})
    control = ControlState().fold({"kind": "admin.tenant_erased", "tenant": "globex", "at": 7, "by": "x"}, 0)
    lacking = catch_up(tmp_path, control, lambda: SqliteSide(Paths(tmp_path).side), NOW, "process:writer")
    assert [(record["tenant"], record["first_at"]) for record in lacking] == [("acme", 5)]
    assert remembered(tmp_path) == {"acme": 5, "globex": 7}
    for tenant in ("acme", "globex"):
        with pytest.raises(SideError, match="destroyed"):
            keys.get(tenant)
    keys.get("other")


def test_nothing_is_opened_where_nothing_was_erased(tmp_path: Path) -> None:
    def opened() -> SideStore:
        raise AssertionError("opened")

    assert catch_up(tmp_path, ControlState(), opened, NOW, "x") == []


def test_a_name_that_is_nobodys_has_no_traces(side: SideStore) -> None:
    assert not has_traces("acmee", ControlState(), side, ["acme"])
    side.add_wrapped_key("old", b"x")
    assert has_traces("old", ControlState(), side, ["acme"])


def test_many_erased_tenants_are_all_remembered(tmp_path: Path) -> None:
    many = {f"tenant-{number}": number for number in range(5_000)}
    remember(tmp_path, many)
    remember(tmp_path, many)
    assert remembered(tmp_path) == many
    assert len(erased_path(tmp_path).read_bytes().splitlines()) == len(many)


def test_erasures_at_the_same_moment_are_all_remembered(tmp_path: Path) -> None:
    remember(tmp_path, {"first": 1})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: remember(tmp_path, {f"tenant-{number}": number}), range(200)))
    assert len(remembered(tmp_path)) == 201


def test_an_erasure_waits_for_another_that_is_being_written(tmp_path: Path) -> None:
    remember(tmp_path, {"first": 1})
    with erased_path(tmp_path).open("r+b") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = pool.submit(remember, tmp_path, {"mine": 3})
        time.sleep(0.1)
        file.seek(0, os.SEEK_END)
        file.write(b'{"tenant": "another", "at": 2}\n')
        file.flush()
        fcntl.flock(file, fcntl.LOCK_UN)
        waiting.result(10)
    assert remembered(tmp_path) == {"first": 1, "another": 2, "mine": 3}
