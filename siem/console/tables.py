"""The control plane's tables in the state database. Times are ms since the epoch; of secrets there are digests."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table

from lineage.state import Text, metadata

ACCOUNTS: Final = Table(
    "operator_accounts",
    metadata,
    Column("name", Text(63), primary_key=True),
    Column("password", Text(256), nullable=False, doc="Argon2id hash in PHC form"),
    Column("roles", Text(256), nullable=False, doc="names from roles.ROLES, in order, separated by commas"),
    Column("active", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

INVITATIONS: Final = Table(
    "operator_invitations",
    metadata,
    Column("digest", Text(64), primary_key=True, doc="SHA-256 of the link's token"),
    Column("purpose", Text(8), nullable=False, doc="first, join or reset"),
    Column("account", Text(63), nullable=False, doc="whose it is; empty for the first link"),
    Column("roles", Text(256), nullable=False),
    Column("invited_by", Text(128), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=True),
)

SESSIONS: Final = Table(
    "operator_sessions",
    metadata,
    Column("digest", Text(64), primary_key=True, doc="SHA-256 of the cookie's token"),
    Column("account", Text(63), nullable=False, index=True),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("source", Text(64), nullable=False),
)

CHANGES: Final = Table(
    "operator_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("serial", BigInteger, nullable=False, doc="counts changes; its one row is what changes queue on"),
)

OF_THE_MOMENT: Final = (SESSIONS, INVITATIONS)
"""Who is signed in, and which links are open: what ends of it must not come back with a copy of before."""
