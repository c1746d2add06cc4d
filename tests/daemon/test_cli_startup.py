"""The command line starts at once."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meshcall.aio.mainline import Mainline
from meshcall.testing.clock import FakeClock

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
def test_the_list_of_commands_cuts_no_sentence() -> None:
    """On a terminal of 80 columns."""
    for words in ([], ["contact"], ["dht"], ["config"]):
        command = [sys.executable, "-m", "meshcall", *words, "--help"]
        text = subprocess.run(
            command, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True
        ).stdout
        assert "Commands:" in text
        assert "..." not in text.split("Commands:")[1]


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
        assert not loaded & {"typer", "rich", "segno", "msgspec", "http.client", "platformdirs"}


@pytest.mark.parametrize("command", [("init",), ("daemon", "--help"), ("bootstrap-node", "--port", "0")])
def test_what_lies_in_the_current_folder_is_not_run(command: tuple[str, ...], tmp_path: Path) -> None:
    """Whoever starts us in a folder that others can write to runs our program, not theirs."""
    here = planted_folder(tmp_path)
    home = tmp_path / "home"
    ours = [sys.executable, "-P", "-m", "meshcall", "--home", str(home)]  # as the installed script does
    subprocess.run([*ours, "init"], cwd=tmp_path, capture_output=True, check=True)
    # a bootstrap node refuses the home of an identity, so each of them ends by itself
    subprocess.run([*ours, *command], cwd=here, capture_output=True, check=False, timeout=30)
    assert not (here / "run").exists()


async def test_nor_is_it_by_the_mainline_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file called libtorrent.py is not libtorrent."""
    here = planted_folder(tmp_path)
    monkeypatch.chdir(here)
    mainline = Mainline(["127.0.0.1:9"], clock=FakeClock())
    try:
        await mainline.start_find([bytes(20)])
    finally:
        await mainline.close()  # the worker looks for the end of its stdin after all imports
    assert not (here / "run").exists()


def planted_folder(parent: Path) -> Path:
    """A folder with modules whose import leaves a trace."""
    folder = parent / "here"
    (folder / "meshcall").mkdir(parents=True)
    for name in ("meshcall/__init__", "json", "getpass", "argparse", "libtorrent"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'run')!r}, 'w')\n")
    return folder
