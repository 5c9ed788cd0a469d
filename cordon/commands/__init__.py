"""The `cordon` commands, one module a group. Each reads the configuration, does one thing and prints what it did.

`common` holds what all share: the options -c and --json, who acts, durations.
"""
