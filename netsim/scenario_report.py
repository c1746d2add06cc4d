"""How scenarios went, for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from netsim.report import key, markdown, page, section
from netsim.scenario_run import ScenarioResult, StepResult


def text(result: ScenarioResult) -> str:
    """A line that says whether all went as expected; below it the grid, if there is one."""
    line = f"{'ok' if result.ok else 'FAIL'}\t{result.scenario.title}"
    return line if result.grid is None else f"{line}\n\n{markdown(result.grid)}\n"


def to_json(result: ScenarioResult) -> dict[str, Any]:
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
