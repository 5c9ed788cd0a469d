"""The tables beside the log on PostgreSQL, and the statements on them. Times are ms since the epoch.

Names of tenants and principals are bytes: texts of people may hold what PostgreSQL's text cannot.
"""

from __future__ import annotations

from typing import Final

from psycopg.types.numeric import Int8

from lineage.postgres_session import Session

LOCK: Final = 0x436F7264_73696401
"""The advisory lock of whoever makes the tables ("Cordsid" and a one)."""
CALLERS: Final = 0x746F6B6E
"""The class of the advisory locks of principals, by 32 bits of a hash ("tokn"). The log's lock has no class."""

TABLES: Final = ("side_blobs", "tenant_keys", "tokens", "bundles")

_SCHEMA: Final = (
    "CREATE SCHEMA IF NOT EXISTS cordon",
    "CREATE TABLE IF NOT EXISTS cordon.side_blobs (digest bytea PRIMARY KEY, at bigint NOT NULL, blob bytea NOT NULL)",
    # What is encrypted cannot be compressed.
    "ALTER TABLE cordon.side_blobs ALTER blob SET STORAGE EXTERNAL",
    "CREATE INDEX IF NOT EXISTS side_blobs_by_time ON cordon.side_blobs (at)",
    "CREATE TABLE IF NOT EXISTS cordon.tenant_keys (tenant bytea PRIMARY KEY, wrapped bytea, at bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS cordon.bundles (digest bytea PRIMARY KEY, at bigint NOT NULL, archive bytea NOT NULL)",
    """CREATE TABLE IF NOT EXISTS cordon.tokens (
        scope bytea, token text, principal bytea NOT NULL, mark bytea NOT NULL, loose boolean NOT NULL,
        expires bigint NOT NULL, sealed bytea NOT NULL, PRIMARY KEY (scope, token)
    )""",
    "CREATE INDEX IF NOT EXISTS tokens_of_principal ON cordon.tokens (principal, expires)",
    "CREATE INDEX IF NOT EXISTS tokens_by_time ON cordon.tokens (expires)",
    "CREATE INDEX IF NOT EXISTS tokens_loose ON cordon.tokens (scope, expires) WHERE loose",
)

SAVE_BLOBS: Final = """
INSERT INTO cordon.side_blobs (digest, at, blob)
SELECT * FROM unnest(%(digests)b::bytea[], %(times)b::bigint[], %(blobs)b::bytea[])
ON CONFLICT (digest) DO UPDATE SET at = greatest(excluded.at, side_blobs.at)
"""
LOAD_BLOB: Final = "SELECT blob FROM cordon.side_blobs WHERE digest = %(digest)b"
# The sizes are known without the blobs, so that none is read that there is no room for.
LOAD_BLOBS: Final = """
SELECT digest, blob FROM cordon.side_blobs JOIN (
    SELECT digest, sum(octet_length(blob)) OVER (ORDER BY digest) AS size
    FROM cordon.side_blobs WHERE digest = ANY (%(digests)b::bytea[])
) AS sizes USING (digest) WHERE size <= %(most)b
"""
DELETE_BLOBS: Final = """
WITH gone AS (DELETE FROM cordon.side_blobs WHERE digest = ANY (%(digests)b::bytea[]) RETURNING 1)
SELECT count(*) FROM gone
"""
FORGET_BLOBS: Final = """
WITH gone AS (
    DELETE FROM cordon.side_blobs WHERE digest IN (
        SELECT digest FROM cordon.side_blobs WHERE at < %(before)b ORDER BY at LIMIT %(limit)b FOR UPDATE SKIP LOCKED
    ) RETURNING 1
)
SELECT count(*) FROM gone
"""

# The other writes are not waited for until they are on the disk; a key is: what it digested cannot be checked without.
DURABLY: Final = "SELECT set_config('synchronous_commit', 'on', true)"
LOAD_KEY: Final = "SELECT wrapped FROM cordon.tenant_keys WHERE tenant = %(tenant)b"
ADD_KEY: Final = """
INSERT INTO cordon.tenant_keys (tenant, wrapped, at) VALUES (%(tenant)b, %(wrapped)b, %(at)b)
ON CONFLICT (tenant) DO NOTHING
"""
ERASE_KEY: Final = """
INSERT INTO cordon.tenant_keys (tenant, wrapped, at) VALUES (%(tenant)b, NULL, %(at)b)
ON CONFLICT (tenant) DO UPDATE SET wrapped = NULL, at = excluded.at
"""
# A row that was overwritten stays in the table's file until that is written anew.
REWRITE_KEYS: Final = "VACUUM FULL cordon.tenant_keys"

ADD_BUNDLE: Final = """
INSERT INTO cordon.bundles (digest, at, archive) VALUES (%(digest)b, %(at)b, %(archive)b)
ON CONFLICT (digest) DO UPDATE SET at = greatest(excluded.at, bundles.at), archive = excluded.archive
"""
LOAD_BUNDLE: Final = "SELECT archive FROM cordon.bundles WHERE digest = %(digest)b"
DROP_BUNDLES: Final = """
WITH gone AS (
    DELETE FROM cordon.bundles WHERE at < %(before)b AND NOT digest = ANY (%(needed)b::bytea[]) RETURNING 1
)
SELECT count(*) FROM gone
"""

# Who keeps tokens of one principal takes turns, or two at once would each stay within bounds that both exceed.
LOCK_CALLER: Final = "SELECT pg_advisory_xact_lock(%(class)b, %(caller)b)"
KEEP: Final = """
WITH new AS (
    SELECT * FROM unnest(%(tokens)b::text[], %(marks)b::bytea[], %(loose)b::boolean[], %(sealed)b::bytea[])
    AS x (token, mark, loose, sealed)
), seen AS (
    SELECT new.*, old.mark AS had, old.expires AS until
    FROM new LEFT JOIN cordon.tokens AS old ON old.scope = %(scope)b AND old.token = new.token
), taken AS (
    SELECT token FROM seen WHERE until > %(now)b AND had <> mark
), stale AS (
    SELECT token, mark, loose, sealed FROM seen
    WHERE (until IS NULL OR until <= %(half)b) AND NOT EXISTS (SELECT FROM taken)
), loose AS (
    SELECT token, octet_length(sealed) AS size FROM cordon.tokens
    WHERE scope = %(scope)b AND loose AND expires > %(now)b AND token NOT IN (SELECT token FROM stale)
    UNION ALL SELECT token, octet_length(sealed) FROM stale WHERE loose
), fits AS (
    SELECT WHERE NOT EXISTS (SELECT FROM stale WHERE loose)
    OR (SELECT count(*) <= %(most_loose)b AND coalesce(sum(size), 0) <= %(largest_loose)b FROM loose)
), written AS (
    INSERT INTO cordon.tokens (scope, token, principal, mark, loose, expires, sealed)
    SELECT %(scope)b, token, %(principal)b, mark, loose, %(expires)b, sealed FROM stale, fits
    ON CONFLICT (scope, token) DO UPDATE
    SET mark = excluded.mark, loose = excluded.loose, expires = excluded.expires, sealed = excluded.sealed
    RETURNING 1
)
SELECT ARRAY(SELECT token FROM taken), EXISTS (SELECT FROM fits), (SELECT count(*) FROM written)
"""
BOUND: Final = """
DELETE FROM cordon.tokens WHERE (scope, token) IN (
    SELECT scope, token FROM cordon.tokens WHERE principal = %(principal)b ORDER BY expires DESC OFFSET %(most)b
)
"""
COPY: Final = """
INSERT INTO cordon.tokens (scope, token, principal, mark, loose, expires, sealed)
SELECT * FROM unnest(
    %(scopes)b::bytea[], %(tokens)b::text[], %(principals)b::bytea[], %(marks)b::bytea[], %(loose)b::boolean[],
    %(expires)b::bigint[], %(sealed)b::bytea[]
)
ON CONFLICT DO NOTHING
"""
FIND: Final = """
SELECT token, mark, loose, sealed FROM cordon.tokens
WHERE scope = %(scope)b AND token = %(token)b AND expires > %(now)b
"""
LOOSE: Final = """
SELECT token, mark, loose, sealed FROM cordon.tokens WHERE scope = %(scope)b AND loose AND expires > %(now)b
"""
FORGET: Final = """
WITH gone AS (
    DELETE FROM cordon.tokens WHERE (scope, token) IN (
        SELECT scope, token FROM cordon.tokens WHERE expires <= %(now)b LIMIT %(limit)b FOR UPDATE SKIP LOCKED
    ) RETURNING 1
)
SELECT count(*) FROM gone
"""
ERASE: Final = """
WITH gone AS (
    DELETE FROM cordon.tokens WHERE (scope, token) IN (
        SELECT scope, token FROM cordon.tokens WHERE principal >= %(first)b AND principal < %(after)b
        LIMIT %(limit)b FOR UPDATE
    ) RETURNING 1
)
SELECT count(*) FROM gone
"""


def exist(session: Session) -> bool:
    """Say whether the tables are there."""
    there = "SELECT bool_and(to_regclass('cordon.' || name) IS NOT NULL) FROM unnest(%(names)b::text[]) AS name"
    return bool(session.rows(there, {"names": list(TABLES)})[0][0])


def make(session: Session) -> None:
    """Make the tables where they are not there yet, all or none; one process at a time."""
    if exist(session):
        return
    with session.transaction():
        session.rows("SELECT pg_advisory_xact_lock(%(lock)b)", {"lock": Int8(LOCK)})
        for statement in _SCHEMA:
            session.rows(statement)
