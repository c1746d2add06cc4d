"""A network lab in user namespaces: hosts, links and faults for testing programs that talk to each other.

Nothing here is imported by meshcall, and nothing here imports meshcall: the lab runs programs.
Public names live in :mod:`netsim.lab`, :mod:`netsim.link` and :mod:`netsim.process`.
"""
