"""The log's tables on PostgreSQL, and the statements that write them: each is one round trip and one commit.

A statement that writes begins with the one row of `cordon.log`, which it holds until it is committed. So appends of all
machines are in one order, and whoever gets the row sees what it says as of then, whenever the statement began. The size
and the epoch are read from it for that reason, and not from the tables, which are seen as of the statement's beginning.
"""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 1

SCHEMA: Final = (
    "CREATE SCHEMA IF NOT EXISTS cordon",
    "CREATE TABLE cordon.records (idx bigint PRIMARY KEY, data bytea NOT NULL)",
    "CREATE TABLE cordon.checkpoints (size bigint PRIMARY KEY, note bytea NOT NULL)",
    "CREATE TABLE cordon.tiles (level bigint, idx bigint, hashes bytea NOT NULL, PRIMARY KEY (level, idx))",
    # Ids are texts of people, which may hold what PostgreSQL's text cannot.
    "CREATE TABLE cordon.control (kind text, id bytea, value bytea NOT NULL, PRIMARY KEY (kind, id))",
    """CREATE TABLE cordon.log (
        one integer PRIMARY KEY CHECK (one = 1), version bigint NOT NULL,
        term bigint NOT NULL, size bigint NOT NULL, epoch bigint NOT NULL, vkey text NOT NULL
    ) WITH (fillfactor = 10)""",
    "INSERT INTO cordon.log VALUES (1, 1, 0, 0, 0, '')",
)

APPEND: Final = """
WITH place AS (
    UPDATE cordon.log SET size = size + %(count)b WHERE size >= %(known)b RETURNING size - %(count)b AS first, epoch
), added AS (
    INSERT INTO cordon.records (idx, data)
    SELECT first + n - 1, data FROM place, unnest(%(records)b::bytea[]) WITH ORDINALITY AS new (data, n)
)
SELECT first, epoch FROM place
"""

APPEND_CONTROL: Final = """
WITH place AS (
    UPDATE cordon.log SET size = size + %(count)b, epoch = size + %(ahead)b
    WHERE size >= %(known)b AND epoch = %(epoch)b RETURNING size - %(count)b AS first
), added AS (
    INSERT INTO cordon.records (idx, data)
    SELECT first + n - 1, data FROM place, unnest(%(records)b::bytea[]) WITH ORDINALITY AS new (data, n)
), gone AS (
    DELETE FROM cordon.control AS old USING place, unnest(%(gone_kinds)b::text[], %(gone)b::bytea[]) AS x (kind, id)
    WHERE old.kind = x.kind AND old.id = x.id
), kept AS (
    INSERT INTO cordon.control (kind, id, value)
    SELECT x.* FROM place, unnest(%(kinds)b::text[], %(ids)b::bytea[], %(values)b::bytea[]) AS x
    ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value
)
SELECT first, %(epoch)b::bigint FROM place
"""

BIND: Final = "UPDATE cordon.log SET vkey = CASE vkey WHEN '' THEN %b ELSE vkey END RETURNING vkey"

CHECKPOINT: Final = """
WITH fence AS (
    SELECT 1 FROM cordon.log WHERE term = %(term)b FOR UPDATE
), tiles AS (
    INSERT INTO cordon.tiles (level, idx, hashes)
    SELECT x.* FROM fence, unnest(%(levels)b::bigint[], %(indexes)b::bigint[], %(hashes)b::bytea[]) AS x
    ON CONFLICT (level, idx) DO UPDATE SET hashes = excluded.hashes
), note AS (
    INSERT INTO cordon.checkpoints (size, note) SELECT %(size)b, %(note)b FROM fence
)
SELECT count(*) FROM fence
"""

# A session of ours whose connection was cut, but whose server process has not noticed yet: it holds our lock.
END_OWN: Final = """
SELECT pg_terminate_backend(pid, 1000) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint = %b AND objid::bigint = %b
AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND application_name = %b AND pid <> pg_backend_pid()
"""
