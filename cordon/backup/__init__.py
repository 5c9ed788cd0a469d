"""Backup and restore of everything that an installation keeps, while it runs; `cordon backup` and `cordon restore`.

- `manifest` what a backup holds, signed with the log's key
- `files` directories that appear whole or not at all; consistent copies of SQLite files; the keys' files
- `dump` what lies on PostgreSQL, by its own programs
- `make` a backup, verified before it counts; `restore` one, verified before anything is put in place
"""
