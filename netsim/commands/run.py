"""``run``: carry out scenario files."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from netsim.commands.files import add_file_arguments, check_file_arguments
from netsim.errors import LabError
from netsim.namespaces import why_unavailable
from netsim.scenario import SCENARIOS, load_scenario
from netsim.scenario_report import html, text, to_json
from netsim.scenario_run import run_scenario

HELP = "carry out scenarios; exit status 1 when a step does not go as expected"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "scenarios", nargs="+", metavar="SCENARIO", help="a TOML file, or a name that `list` prints"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    add_file_arguments(parser)


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
    check_file_arguments(options, parser)
    try:
        scenarios = [load_scenario(find(word)) for word in options.scenarios]
    except LabError as error:
        parser.error(str(error))
    reason = why_unavailable()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    results = []
    for number, (word, scenario) in enumerate(zip(options.scenarios, scenarios, strict=True), start=1):
        print(f"# {scenario.title}", file=sys.stderr, flush=True)
        # Several scenarios: a folder for each.
        keep, pcap = (
            folder / f"{number}-{find(word).stem}" if folder is not None and len(scenarios) > 1 else folder
            for folder in (options.keep, options.pcap)
        )
        try:
            results.append(asyncio.run(run_scenario(scenario, log, keep=keep, pcap=pcap)))
        except LabError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if options.html is not None:
        options.html.write_text(html(results))
    if options.json:
        print(json.dumps([to_json(result) for result in results], indent=2))
    else:
        print("\n".join(map(text, results)))
    return 0 if all(result.ok for result in results) else 1


def log(line: str) -> None:
    """Tell of a step, beside the result."""
    print(line, file=sys.stderr, flush=True)
