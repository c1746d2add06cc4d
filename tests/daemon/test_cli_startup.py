"""The command line starts at once."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import pytest

ALLOWANCE = 0.150
"""Seconds that ``meshcall --help`` may take more than an empty Python program."""

ROUNDS = 10
ATTEMPTS = 3
"""Other work on the machine slows single rounds: the best of several medians is what the program costs."""


def seconds(*arguments: str) -> float:
    """How long one run of Python takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - start


def extra_cost() -> float:
    """Median of `meshcall --help` less the median of an empty program, measured by turns."""
    pairs = [(seconds("-c", "pass"), seconds("-m", "meshcall", "--help")) for _ in range(ROUNDS)]
    return statistics.median(ours for _, ours in pairs) - statistics.median(bare for bare, _ in pairs)


@pytest.mark.timeout(120)
def test_help_is_instant() -> None:
    """At most 150 ms more than ``python3 -c pass``."""
    costs = []
    for _ in range(ATTEMPTS):
        costs.append(extra_cost())
        if costs[-1] <= ALLOWANCE:
            break
    print(f"meshcall --help costs {min(costs) * 1000:.0f} ms more than an empty program")
    assert min(costs) <= ALLOWANCE


HEAVY = ("aiohttp", "aiortc", "aioice", "av", "asyncio", "cryptography", "kademlia", "zeroconf")


@pytest.mark.parametrize(
    "module", ["meshcall.cli.main", "meshcall.control.client", "meshcall.daemon_options"]
)
def test_nothing_heavy_is_loaded(module: str) -> None:
    """Neither the node, nor a server, nor a media library."""
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {*HEAVY, "meshcall.node", "meshcall.aio"}
    if module == "meshcall.cli.main":
        assert not loaded & {"rich", "segno", "msgspec", "http.client", "platformdirs"}
