"""``python -m tests.fuzz --inputs 200000 --seed 1``: exit status 1 if anything was found."""

from __future__ import annotations

import argparse
import random
import sys

from tests.fuzz.run import run

SLOW = 0.05
"""Seconds of CPU time that no input may take."""


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    report = run(options.inputs, options.seed)
    print("\n".join(report.lines()))
    return int(bool(report.failures) or report.slowest > SLOW)


if __name__ == "__main__":
    sys.exit(main())
