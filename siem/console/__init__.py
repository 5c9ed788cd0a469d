"""console: the control server, from the socket to the record.

    socket → protocol (uvicorn's, head in time) → guard (host, size, headers) → access (who, may they, did they mean it)
           → a route ── log_api       checkpoint, tiles, proofs, metrics, probes
                     ├─ api           /api/v1, the admin API; its shapes are in schemas
                     ├─ door_pages    sign-in, one-time links, sign-out, own password
                     ├─ watch_pages   overview, calls, records, alerts, containments; render and templates/ draw them
                     ├─ policy_pages  roll-outs of policy bundles
                     └─ admin_pages   keys, accounts
           → calls (looks back through the log), status, operations (contain, release, keys), rollouts, accounts,
             sign_in, sessions
           → journal → the log

What holds everywhere:

- A route without a line in `access.ACCESS` cannot be built; what a role may do stands in `roles.ROLES`: closed tables.
- Something is done when its record is durable, not before; while the log is away nothing can be changed.
- Of passwords, sessions and links there are only hashes; a key's text is in one answer and nowhere else.
- Routes are plain functions in threads: they read files and wait for the log, the event loop does not.

`server.run_control` opens the parts (`deps.assemble`) and serves `app.create_app` until it is told to stop.

Next file: `access`.
"""
