"""Playbooks decide what follows from an alert. So far there is one: contain the subject for a limited time.

In come the log's `alert.raised` records; out go `containment.applied` and `containment.expired`, by way of the same
outbox and follower that the detectors use. Read on in this order:

    containment     from an alert to a containment, and everything that speaks against one
    expiry          the record of a containment's end
    soc             the loop of the SOC process: detectors and playbooks on one follower
    errors          what can go wrong
"""
