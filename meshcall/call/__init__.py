"""Calls: the pure machine that decides what one call does next.

``events`` go in, ``commands`` come out; ``machine`` holds the one transition table, ``actions`` what each
transition does, ``state`` what a machine remembers, ``glare`` who wins when both call at once, ``timeline``
and ``summary`` what is told about a call afterwards.
"""
