"""``list``: what there is to run."""

from __future__ import annotations

import argparse

from netsim.bench import runner
from netsim.link import LADDER
from netsim.nat import PRESETS
from netsim.scenario import SCENARIOS, load_scenario

HELP = "list the benches, kinds of NAT, links and scenarios"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Returns the exit status."""
    sections = {
        "bench": {bench.name: bench.summary for bench in runner.BENCHES.values()},
        "kind": {name: str(kind) for name, kind in PRESETS.items()},
        "link": {name: str(link) for name, link in LADDER.items()},
        "scenario": {path.stem: load_scenario(path).title for path in sorted(SCENARIOS.glob("*.toml"))},
    }
    for section, entries in sections.items():
        for name, summary in entries.items():
            print(f"{section}\t{name}\t{summary}")
    return 0
