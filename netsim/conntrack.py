"""Make a router forget its flows: what ``conntrack -F`` does, without that tool.

Runs as a plain script in the router's namespace. One netlink message (nfnetlink_conntrack.h)::

    nlmsghdr    length 20, type CTNETLINK << 8 | CT_DELETE, flags REQUEST | ACK, sequence, port
    nfgenmsg    family AF_UNSPEC (all), version 0, resource 0
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve()
NETLINK_NETFILTER = 12
CT_DELETE = 1 << 8 | 2
REQUEST_ACK = 0x01 | 0x04
NLMSG_ERROR = 2


def flush() -> None:
    """Forget every flow of the present network namespace. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        sock.send(struct.pack("=IHHIIBBH", 20, CT_DELETE, REQUEST_ACK, 1, 0, socket.AF_UNSPEC, 0, 0))
        answer = sock.recv(4096)
    kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind != NLMSG_ERROR or code != 0:
        raise OSError(-code, os.strerror(-code), "forgetting flows")


if __name__ == "__main__":
    flush()
    sys.exit(0)
