"""What a program of the lab weighs, with all that it has started: memory, CPU, descriptors, threads."""

from __future__ import annotations

import os
from dataclasses import dataclass

from netsim.host import Host
from netsim.process import LabProcess

_LOOK = (
    'for p in /proc/[0-9]*; do read -r line < "$p/stat" || continue;'
    ' echo "$line|$(ls "$p/fd" 2> /dev/null | wc -l)"; done 2> /dev/null; true'
)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Weight:
    """Of a process and its descendants together."""

    rss: int
    """Octets."""
    cpu: float
    """Seconds until now."""
    fds: int
    threads: int
    processes: int


def read_weight(listing: str, pid: int) -> Weight:
    """From lines of /proc/PID/stat (proc(5)), a bar, and the number of descriptors; pure."""
    parents: dict[int, int] = {}
    found: dict[int, tuple[int, float, int, int]] = {}
    for line in listing.splitlines():
        stat, _, fds = line.rpartition("|")
        head, _, tail = stat.rpartition(") ")
        if not head:
            continue
        number = int(head.split(" ", 1)[0])
        words = tail.split()  # the third field of proc(5) is the first here
        parents[number] = int(words[1])
        cpu = (int(words[11]) + int(words[12])) * _TICK
        found[number] = int(words[21]) * _PAGE, cpu, int(fds), int(words[17])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    rows = [found[member] for member in family if member in found]
    return Weight(
        sum(row[0] for row in rows),
        sum(row[1] for row in rows),
        sum(row[2] for row in rows),
        sum(row[3] for row in rows),
        len(rows),
    )


async def weigh(host: Host, process: LabProcess) -> Weight:
    """Look at it now. Raises LabError."""
    listing = (await host.run(["sh", "-c", _LOOK])).check().stdout
    return read_weight(listing, process.pid)
