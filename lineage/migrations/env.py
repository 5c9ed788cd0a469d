"""Runs the versions on the connection that `lineage.state_upgrade` hands over, inside its transaction and its lock."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
