"""How scenarios went: as values, for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from netsim.grid import Grid
from netsim.report import key, markdown, page, section
from netsim.scenario import Scenario


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one step went."""

    what: str
    seconds: float
    problem: str = ""
    """Why the scenario fails here; empty: it went as expected."""
    gap: str = ""
    """A known gap, if the expectation was not met because of it."""
    detail: str = ""

    @property
    def word(self) -> str:
        """``ok``, ``gap`` or ``failed``."""
        return "failed" if self.problem else "gap" if self.gap else "ok"

    @property
    def about(self) -> str:
        """What there is to say besides."""
        return self.problem or (f"known gap: {self.gap}" if self.gap else self.detail)

    def __str__(self) -> str:
        about = f": {self.about}" if self.about else ""
        return f"{self.word:6} {self.seconds:6.2f} s  {self.what}{about}"


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """How a scenario went."""

    scenario: Scenario
    steps: tuple[StepResult, ...]
    grid: Grid | None = None

    @property
    def ok(self) -> bool:
        """Whether all went as expected."""
        return not any(step.problem for step in self.steps)


def text(result: ScenarioResult) -> str:
    """A line that says whether all went as expected; below it the grid, if there is one."""
    gaps = sum(bool(step.gap) for step in result.steps)
    known = f" ({gaps} known gap{'s' if gaps > 1 else ''})" if gaps else ""
    line = f"{'ok' if result.ok else 'FAIL'}\t{result.scenario.title}{known}"
    return line if result.grid is None else f"{line}\n\n{markdown(result.grid)}\n"


def to_json(result: ScenarioResult) -> dict[str, Any]:
    """A result for machines."""
    return {
        "title": result.scenario.title,
        "ok": result.ok,
        "steps": [asdict(step) for step in result.steps],
        "grid": result.grid.to_json() if result.grid is not None else None,
    }


def html(results: Sequence[ScenarioResult]) -> str:
    """One page: the steps of each scenario, and grids as pictures."""
    legend = key() if any(result.grid is not None for result in results) else ""
    return page("Scenarios", legend + "".join(map(_scenario, results)))


def _scenario(result: ScenarioResult) -> str:
    rows = "".join(map(_row, result.steps))
    head = "<tr><th></th><th>seconds</th><th>step</th><th>how it went</th></tr>"
    return (
        f"<h2>{escape(result.scenario.title)}</h2><p>{escape(result.scenario.why)}</p>"
        f'<div class="wide"><table class="list">{head}{rows}</table></div>'
        + ("" if result.grid is None else section(result.grid))
    )


def _row(step: StepResult) -> str:
    cells = f"<td>{step.seconds:.2f}</td><td>{escape(step.what)}</td><td>{escape(step.about)}</td>"
    return f'<tr><td class="{step.word}">{step.word}</td>{cells}</tr>'
