"""What a program weighs is read from /proc's lines, its descendants included."""

from __future__ import annotations

import os

from netsim.weights import read_weight

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


def line(pid: int, name: str, parent: int, cpu: int, threads: int, pages: int, fds: int) -> str:
    """As proc(5) has it, a bar, and descriptors."""
    words = ["0"] * 49
    words[0], words[1], words[11], words[12], words[17], words[21] = (
        "S", str(parent), str(cpu), "0", str(threads), str(pages)
    )  # fmt: skip
    return f"{pid} ({name}) {' '.join(words)}|{fds}"


def test_a_family_is_weighed_together() -> None:
    """Children and theirs, whatever they are called; others are not."""
    listing = "\n".join(
        [
            line(1, "init", 0, 9, 9, 9, 9),
            line(10, "meshcall", 1, 5, 3, 100, 20),
            line(11, "odd) (name", 10, 7, 2, 50, 10),
            line(12, "worker", 11, 1, 1, 25, 5),
            "not a line",
        ]
    )
    weight = read_weight(listing, 10)
    assert (weight.rss, weight.fds, weight.threads, weight.processes) == (175 * PAGE, 35, 6, 3)
    assert weight.cpu == 13 / TICK
    assert read_weight(listing, 99).processes == 0
