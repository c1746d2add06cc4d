"""Which user is at the other end of a connection on the loopback interface (proc(5), ``/proc/net/tcp``).

Law: only a socket that is there and whose user id is allowed passes; what can't be told does not.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meshcall.address import Address

_TABLES: Final = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
_ESTABLISHED: Final = "01"


def uid_of(client: Address, server: Address) -> int | None:
    """The user id of the socket at ``client`` that is connected to ``server``; None: there is none.

    Raises OSError where the system has no such table.
    """
    for table in _TABLES.values():
        with table.open() as lines:
            next(lines, None)
            found = find_uid(lines, client, server)
        if found is not None:
            return found
    return None


def find_uid(lines: Iterable[str], client: Address, server: Address) -> int | None:
    """:func:`uid_of` from the table's lines."""
    ours = {_hexadecimal(client, version) for version in (4, 6)}
    theirs = {_hexadecimal(server, version) for version in (4, 6)}
    for line in lines:
        words = line.split()
        if len(words) > 7 and words[1] in ours and words[2] in theirs and words[3] == _ESTABLISHED:
            return int(words[7])
    return None


def _hexadecimal(address: Address, version: int) -> str:
    """ADDRESS:PORT as the table of IPv4 or IPv6 writes it: words of 32 bits in the machine's order."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    packed = ip.packed
    if version == 6 and ip.version == 4:
        packed = bytes(10) + b"\xff\xff" + packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return f"{b''.join(words).hex().upper()}:{address[1]:04X}"
