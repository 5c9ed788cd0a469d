"""The history of the state database's tables, one for SQLite and PostgreSQL: `versions`, in the order of their names.

A change of a table is a new file in `versions`, and the same change in the module that declares the table; a test
holds both together on both databases. Where the two databases have to differ (a table that lies elsewhere on SQLite),
a version asks `op.get_bind().dialect.name`. `env` is what Alembic runs; `lineage.state_upgrade` calls it.

There is no way back: a database of a newer program is refused, and an older state is restored from a copy.
"""
