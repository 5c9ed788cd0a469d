"""The address of a PostgreSQL database: what is refused before anything connects, and what messages tell of it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.errors import LogUnavailable
from lineage.postgres_session import Session, describe, fault
from tests.support.gateway import free_ports

SECRETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(SECRETS)
def test_any_password_can_be_given_percent_encoded_and_is_never_told(secret: str) -> None:
    address = f"postgresql://cordon:{quote(secret, safe='')}@db.example:5432/log"
    assert fault(address) is None
    assert describe(address) == "PostgreSQL database log at db.example:5432"


@given(SECRETS)
def test_what_is_said_of_an_address_does_not_depend_on_the_password(secret: str) -> None:
    """So that no part of a password that was not encoded stands in an error, whatever it is taken for."""
    said = fault(f"postgresql://cordon:{secret}@db.example:5432/log")
    assert said is None or said in {fault("postgresql://%zz"), fault("postgresql://a@b@c/d")}


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ("postgresql://cordon@db.example", "names no database"),
        ("postgresql://cordon@db.example:port/log", "percent-encoded"),
        ("postgresql://cordon@db.example/log?nonsense=1", "percent-encoded"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(address: str, wrong: str) -> None:
    assert wrong in (fault(address) or "")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://cordon@db-1.example,db-2.example/log?target_session_attrs=read-write",
        "postgres://cordon@[::1]:5432/log",
        "postgresql:///log?host=/run/postgresql",
        "postgresql://cordon@my_host/log?sslmode=verify-full&sslrootcert=/etc/ca.pem",
    ],
)
def test_what_the_library_understands_is_taken(address: str) -> None:
    assert fault(address) is None


def test_a_server_that_is_not_there_is_named() -> None:
    (port,) = free_ports(1)
    with pytest.raises(LogUnavailable, match=f"database log at 127.0.0.1:{port}: the server does not answer"):
        Session(f"postgresql://cordon:hunter2@127.0.0.1:{port}/log", "test")
