"""The audit log: records, the tree that keeps them from being rewritten unnoticed, who writes it and who reads it.

In come records (`record.encode`), from gateway workers, the SOC process, the control server and the command line.
Out go their indexes once they are on the disk, the control state that they fold to, and checkpoints, tiles and
proofs in the formats of C2SP, which tools of others verify.

Read in this order:

- `record` the kinds, the canonical bytes; `control` the fold of keys and containments; `actions` the records by which
  people act; `settings`, `errors`, `paths`
- `merkle` RFC 6962; `tiles` the tiled tree; `note` keys, signed notes, checkpoints; `proof` inclusion proofs as files
- `store` the contract of a database, `sqlite_store` and `sqlite_file` the one on SQLite, `postgres_store`,
  `postgres_session` and `postgres_sql` the one on PostgreSQL, `place` which of them, `move` from the first to the
  second; `keys` the key files; `ledger` store, tree, control state and key in step: here a record becomes durable
- `wire` the frames; `writer` the process that commits, `connection` one of its clients, `retention` what grows old;
  `client` and `local` those who ask it to, from an event loop and from the command line
- `reader` read access from any process; `serve` the same as paths and bytes; `verify` with its `checks` and `report`;
  `export`
- `erasure` what goes when a tenant is erased, and stays away when a backup is restored
- `side` and `side_writer` what must be erasable: blobs sealed per tenant, keyed digests; `tokens` what tokens stand
  for; `side_place` whether both lie in SQLite (`sqlite_side`) or in PostgreSQL (`postgres_side`, `postgres_tokens` on
  `postgres_pool` and `side_sql`), and `side_move` from the first to the second
- `metrics` tallies of every process and their rendering; `state` the database of everything that is not the log
"""
