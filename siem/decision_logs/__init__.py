"""Decision logs: each decision of policy as an event in OPA's format, delivered from the log to collectors and files.

    lineage log, kept inputs ──→ source ──→ events ──→ drop, mask ──→ sink ──→ cursor in the state database
                                 event      source     rules, mask    http_sink, file_sink    delivery

In: the records `call.intent`, `call.outcome` and `call.refused`, and the masked policy inputs beside the log. Out:
events as OPA writes them, in the order of the log, each at least once, with the same `decision_id` every time. The
bundle's `data.system.log.drop` and `data.system.log.mask` are evaluated for them alone; where they cannot be,
input and result of the event are erased. All of it runs in the SOC process, beside the detectors: a collector that is
away holds up its own cursor and nothing else.

Read on in this order: `settings`, `event`, `mask`, `rules`, `server_rules`, `rolled_out`, `source`, `sink`, `chunk`,
`http_sink`, `file_sink`, `delivery`, `standing`. Source of the format: OPA's documentation, "Decision Logs".
"""
