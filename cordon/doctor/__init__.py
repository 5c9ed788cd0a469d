"""cordon doctor: looks at an installation and says what is wrong with it and what to do. It changes nothing.

In comes a configuration file, out come findings, each ok, warn or fail:

    finding      one of them, and how a check makes it
    machine      Python, limits, disk, clock
    settings     what the configuration names: secrets, certificates, ports, upstreams, unsafe options
    bundle       the policy bundle, by the admission that it has to pass
    opa          the OPA server, where one decides
    storage      the data directory: who can read it, databases, the log and its writer
    running      what the running workers have measured of their clients' TLS
    examine      runs them all
"""
