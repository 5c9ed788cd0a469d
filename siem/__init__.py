"""siem: what people and other systems see of Cordon, and how they reach into it.

    lineage log, state database ──→ console/   the control server: console, admin API, log read API, probes
    lineage log ──────────────────→ sinks/     events to the outside
    people ──→ console/ ──→ records in the log ──→ gateway workers, detectors

In: the log (read by index), the state database, the processes' measurements. Out: pages and JSON, and records of what
operators did. Nothing here acts on a call; a containment or a revoked key works because it is in the log.

Next file: `settings`, then `console/__init__`.
"""
