"""``run``: carry out scenario files."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from netsim.errors import LabError
from netsim.namespaces import why_unavailable
from netsim.report import markdown
from netsim.scenario import SCENARIOS, load_scenario
from netsim.scenario_run import ScenarioResult, run_scenario

HELP = "carry out scenarios; exit status 1 when a step does not go as expected"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "scenarios", nargs="+", metavar="SCENARIO", help="a TOML file, or a name that `list` prints"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def find(word: str) -> Path:
    """The file that a word means: a path, or the name of one that comes with the lab. Raises LabError."""
    path, known = Path(word), SCENARIOS / f"{word}.toml"
    if path.exists():
        return path
    if not known.exists():
        raise LabError(f"there is no file {word}, and no scenario of that name; `list` prints them")
    return known


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Returns the exit status."""
    try:
        scenarios = [load_scenario(find(word)) for word in options.scenarios]
    except LabError as error:
        parser.error(str(error))
    reason = why_unavailable()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    results = []
    for scenario in scenarios:
        print(f"# {scenario.title}", file=sys.stderr, flush=True)
        try:
            results.append(asyncio.run(run_scenario(scenario, lambda text: print(text, file=sys.stderr))))
        except LabError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if options.json:
        print(json.dumps([to_json(result) for result in results], indent=2))
    else:
        for result in results:
            print(f"{'ok' if result.ok else 'FAIL'}\t{result.scenario.title}")
            if result.grid is not None:
                print("\n" + markdown(result.grid) + "\n")
    return 0 if all(result.ok for result in results) else 1


def to_json(result: ScenarioResult) -> dict[str, object]:
    """A result for machines."""
    return {
        "title": result.scenario.title,
        "ok": result.ok,
        "steps": [
            {
                "what": step.what,
                "seconds": step.seconds,
                "problem": step.problem,
                "gap": step.gap,
                "detail": step.detail,
            }
            for step in result.steps
        ],
        "grid": result.grid.to_json() if result.grid is not None else None,
    }
