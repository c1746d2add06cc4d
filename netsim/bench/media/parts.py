"""The bench's parts, and their figures as one report."""

from __future__ import annotations

import importlib
import time

from netsim.bench.figure import Report
from netsim.bench.runner import Options

PARTS = {
    name: f"{__package__}.{name}"
    for name in ("joining", "sending", "receiving", "virtual", "rate", "mesh", "soak")
}
"""Modules by the names that ``--only`` takes."""


async def measure(options: Options) -> Report:
    """Run the parts that are wanted, one after the other."""
    reports: list[Report] = []
    for part in options.only or PARTS:
        begin = time.monotonic()
        reports.append(await importlib.import_module(PARTS[part]).measure(options))
        options.log(f"{part}: {time.monotonic() - begin:.0f} s")
    return Report(
        "Media",
        tuple(figure for report in reports for figure in report.figures),
        tuple(table for report in reports for table in report.tables),
        tuple(note for report in reports for note in report.notes),
        tuple(line for report in reports for line in report.failures),
    )
