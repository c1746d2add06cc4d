"""Rooms: the pure machines of a meeting without a host.

``machine`` is one member's view of one room, ``joiner`` the way in; ``events`` go in, ``commands`` come out.
``descriptor`` is what a room is, ``entry``, ``statements`` and ``roster`` what its members agree on,
``messages`` what they say to each other, ``uri`` and ``codes`` how a room is passed on.
"""
