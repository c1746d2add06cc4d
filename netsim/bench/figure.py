"""A measured figure, its goal, and how both are shown. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Statistic = Literal["median", "p90", "max", "min", "mean"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured several times."""

    name: str
    unit: str
    values: tuple[float, ...]
    goal: float | None = None
    """The statistic may be at most this; None: measured for information."""
    statistic: Statistic = "median"
    """What of the values the goal is for."""
    at_least: bool = False
    """The statistic must be at least the goal."""
    judged: bool = True
    """Whether the goal is for what was measured; otherwise it is shown for comparison only."""

    @property
    def median(self) -> float:
        """The middle value; NaN without values."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def p95(self) -> float:
        """The value that 95 % are at or below (nearest rank); NaN without values."""
        if not self.values:
            return math.nan
        return sorted(self.values)[math.ceil(0.95 * len(self.values)) - 1]

    @property
    def value(self) -> float:
        """The statistic that the goal is for; NaN without values."""
        if not self.values:
            return math.nan
        match self.statistic:
            case "median":
                return self.median
            case "p90":
                return sorted(self.values)[math.ceil(0.9 * len(self.values)) - 1]
            case "max":
                return max(self.values)
            case "min":
                return min(self.values)
            case "mean":
                return statistics.fmean(self.values)

    @property
    def reached(self) -> bool:
        """Whether the values are as good as the goal, judged or not; without values they are not."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def met(self) -> bool:
        """Whether the goal is met; a goal that nothing was measured for is not."""
        return not self.judged or self.reached

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.goal is None:
            return "-"
        if not self.judged:
            return "(met)" if self.reached else "(beyond)"
        return "met" if self.reached else "**missed**"

    @property
    def goal_text(self) -> str:
        """The goal, with its statistic unless that is the median."""
        if self.goal is None:
            return "-"
        what = "" if self.statistic == "median" else f"{self.statistic} "
        return f"{what}{'>=' if self.at_least else '<='} {number(self.goal)}"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "unit": self.unit,
            "goal": self.goal,
            "statistic": self.statistic,
            "at_least": self.at_least,
            "judged": self.judged,
            "met": self.met,
            "value": None if math.isnan(self.value) else round(self.value, 3),
            "median": None if math.isnan(self.median) else round(self.median, 3),
            "p95": None if math.isnan(self.p95) else round(self.p95, 3),
            "n": len(self.values),
            "values": [round(value, 3) for value in self.values],
        }


@dataclass(frozen=True, slots=True)
class Table:
    """More about how a figure comes about."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """With its title above."""
        return f"### {self.title}\n\n{markdown_table(self.header, self.rows)}"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"title": self.title, "rows": [dict(zip(self.header, row, strict=True)) for row in self.rows]}


@dataclass(frozen=True, slots=True)
class Report:
    """What a bench found out."""

    title: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = field(default=())
    failures: tuple[str, ...] = field(default=())
    """Attempts that did not work, one line each; any of them is a missed goal."""

    @property
    def met(self) -> bool:
        """Whether every goal is met and nothing failed."""
        return not self.failures and all(figure.met for figure in self.figures)

    def to_markdown(self) -> str:
        """For people and docs."""
        rows: list[tuple[str, ...]] = [
            (
                figure.name,
                figure.goal_text,
                number(figure.value),
                number(figure.median),
                number(figure.p95),
                str(len(figure.values)),
                figure.unit,
                figure.verdict,
            )
            for figure in self.figures
        ]
        header: tuple[str, ...] = (
            "figure",
            "goal (median)",
            "value",
            "median",
            "p95",
            "n",
            "unit",
            "verdict",
        )
        if all(figure.statistic == "median" for figure in self.figures):
            header = header[:2] + header[3:]
            rows = [row[:2] + row[3:] for row in rows]
        parts = [f"## {self.title}", markdown_table(header, rows)]
        parts += [table.to_markdown() for table in self.tables]
        parts += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        parts += ["Failures:\n" + "\n".join(f"- {line}" for line in self.failures)] if self.failures else []
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "title": self.title,
            "met": self.met,
            "figures": [figure.to_json() for figure in self.figures],
            "tables": [table.to_json() for table in self.tables],
            "notes": list(self.notes),
            "failures": list(self.failures),
        }


def number(value: float) -> str:
    """Short and readable."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])
