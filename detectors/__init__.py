"""Detectors follow the log and raise alerts; what follows from an alert is decided in `playbooks`.

In come the log's records, by index and in order; out go `alert.raised` and `process.lost` records, and the table of
alerts that the console lists. Read on in this order:

    settings        thresholds and time limits, all in one place
    peek            single facts from a record's bytes, for the kinds that come with every call
    consumer        what follows the log, and what it wants written; ids that come from the evidence
    detector        a detector's metadata, logic and cases, and what is known of each subject, bounded
    refusal_burst, finding_volume, unfinished, rejected, policy_server, revocation, decision_log
                    the detectors, one file each
    catalogue       all of them, and those that a configuration turns on
    alert, alerts   an alert, and the table of alerts projected from the log
    outbox          what is to be written, each thing once, also across crashes
    follower        reads the log and shows it to the consumers; stores place and state in one transaction

A detector is a pure function of the records. Its clock is the records' own time, so that a replay finds what was found
before. Detectors never read a wall clock, never write, and know nothing of containment.
"""
