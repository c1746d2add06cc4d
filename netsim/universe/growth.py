"""How the cost of a lookup grows with the network: the same lookups in universes of several sizes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netsim.bench.figure import markdown_table
from netsim.universe.plot import Line, plot
from netsim.universe.scenario import Scenario
from netsim.universe.settings import Settings

Log = Callable[[str], None]
"""Told how far it is."""


@dataclass(frozen=True, slots=True)
class Point:
    """Lookups of random targets in one size of network."""

    nodes: int
    hops: tuple[float, ...]
    messages: tuple[float, ...]
    failed: int

    @property
    def mean_hops(self) -> float:
        """Steps to the closest node."""
        return statistics.fmean(self.hops)

    @property
    def mean_messages(self) -> float:
        """Requests, with repetitions."""
        return statistics.fmean(self.messages)


@dataclass(frozen=True, slots=True)
class Fit:
    """Least squares: y = constant + slope * log2(nodes)."""

    constant: float
    slope: float
    r2: float

    def at(self, nodes: float) -> float:
        """The fitted value."""
        return self.constant + self.slope * math.log2(nodes)


def fit(points: Sequence[tuple[float, float]]) -> Fit:
    """The straight line over log2 of the first coordinate; with one point, a level."""
    xs = [math.log2(x) for x, _ in points]
    ys = [y for _, y in points]
    if len(set(xs)) < 2:
        return Fit(ys[0], 0.0, 1.0)
    slope, constant = statistics.linear_regression(xs, ys)
    spread = sum((y - statistics.fmean(ys)) ** 2 for y in ys)
    left = sum((y - constant - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    return Fit(constant, slope, 1 - left / spread if spread else 1.0)


def measure(settings: Settings, sizes: Sequence[int], log: Log) -> list[Point]:
    """One universe per size; deaths, if any, come before the lookups."""
    points: list[Point] = []
    for nodes in sizes:
        log(f"{nodes} nodes")
        scenario = Scenario(replace(settings, nodes=nodes), log)
        scenario.join()
        scenario.world.kill_share(settings.dead)
        scenario.lookups()
        found = scenario.outcome
        points.append(Point(nodes, tuple(found.hops), tuple(found.messages), found.lookup_failed))
    return points


def fits(points: Sequence[Point]) -> tuple[Fit, Fit]:
    """Of hops and of messages."""
    return fit([(p.nodes, p.mean_hops) for p in points]), fit([(p.nodes, p.mean_messages) for p in points])


def to_markdown(points: Sequence[Point], settings: Settings) -> str:
    """A table, and the lines that fit."""
    rows = [
        (
            str(p.nodes),
            f"{p.mean_hops:.2f}",
            f"{max(p.hops):.0f}",
            f"{p.mean_messages:.1f}",
            f"{max(p.messages):.0f}",
            str(len(p.hops)),
            str(p.failed),
        )
        for p in points
    ]
    header = ("nodes", "hops, mean", "hops, most", "requests, mean", "requests, most", "n", "failed")
    hops, messages = fits(points)
    lines = [
        f"hops = {hops.constant:.2f} + {hops.slope:.3f} log2(nodes), R2 = {hops.r2:.3f}",
        f"requests = {messages.constant:.2f} + {messages.slope:.3f} log2(nodes), R2 = {messages.r2:.3f}",
    ]
    title = f"## Growth, {settings.dead:.0%} dead, {settings.hostile:.0%} hostile, seed {settings.seed}"
    return "\n\n".join((title, markdown_table(header, rows), "\n".join(f"- {line}" for line in lines)))


def to_json(points: Sequence[Point]) -> dict[str, Any]:
    """For programs."""
    hops, messages = fits(points)
    return {
        "points": [
            {
                "nodes": p.nodes,
                "hops": round(p.mean_hops, 3),
                "hops_max": max(p.hops),
                "messages": round(p.mean_messages, 3),
                "messages_max": max(p.messages),
                "n": len(p.hops),
                "failed": p.failed,
            }
            for p in points
        ],
        "hops_fit": {
            "constant": round(hops.constant, 4),
            "slope": round(hops.slope, 4),
            "r2": round(hops.r2, 4),
        },
        "messages_fit": {
            "constant": round(messages.constant, 4),
            "slope": round(messages.slope, 4),
            "r2": round(messages.r2, 4),
        },
    }


def to_svg(points: Sequence[Point]) -> str:
    """Hops times ten beside requests, over the logarithm of the size, with the fitted lines."""
    hops, messages = fits(points)
    sizes = [float(p.nodes) for p in points]
    return plot(
        "Cost of a lookup against the size of the network",
        "nodes (logarithmic)",
        "requests; hops x 10",
        (
            Line("requests", tuple((float(p.nodes), p.mean_messages) for p in points)),
            Line("hops x 10", tuple((float(p.nodes), 10 * p.mean_hops) for p in points)),
            Line("", tuple((x, messages.at(x)) for x in sizes), dashed=True),
            Line("", tuple((x, 10 * hops.at(x)) for x in sizes), dashed=True),
        ),
        log_x=True,
    )
