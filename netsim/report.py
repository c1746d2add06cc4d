"""A grid of calls for people: Markdown for the docs, and HTML with the grid as a picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from netsim.grid import ROUTES, Grid, Pair
from netsim.routes import LETTERS
from netsim.stacks.attempt import Route

_WORDS: Final[dict[Route, str]] = {
    "direct": "media on a path between the two",
    "relay": "media through a relay",
    "fail": "no media",
}
_STYLE: Final = """
:root { color-scheme: light dark; --direct: #1a7f4b; --relay: #b06a00; --fail: #b3261e; --none: #8888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: separate; border-spacing: 3px; }
th { font-weight: 600; text-align: left; padding: .3rem .5rem; }
thead th { writing-mode: vertical-rl; transform: rotate(180deg); vertical-align: bottom; }
td { width: 4.6rem; height: 2.8rem; text-align: center; border-radius: .4rem; color: #fff; }
td small { display: block; font-variant-numeric: tabular-nums; }
.direct { background: var(--direct); } .relay { background: var(--relay); } .fail { background: var(--fail); }
.none { background: var(--none); }
.mixed { outline: 3px dashed #8888; outline-offset: -3px; }
.key span { display: inline-block; border-radius: .4rem; padding: 0 .6rem; color: #fff; margin-right: .6rem; }
.wide { overflow-x: auto; }
.list th, .list td { color: inherit; width: auto; height: auto; text-align: left; }
.list .ok { color: var(--direct); } .list .gap { color: var(--relay); } .list .failed { color: var(--fail); }
.list td, .list th { padding: .2rem .8rem .2rem 0; }
"""


def title(grid: Grid) -> str:
    """What a grid shows, in a line."""
    return f"{grid.stack}, relay {'on' if grid.relay else 'off'}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def markdown(grid: Grid) -> str:
    """The grid as a table: rows call columns; D, R or F, and the median time to media in seconds."""
    lines = [
        f"| {title(grid)} | " + " | ".join(grid.kinds) + " |",
        "|" + "-|" * (len(grid.kinds) + 1),
    ]
    for caller in grid.kinds:
        cells = [_cell(grid, (caller, callee)) for callee in grid.kinds]
        lines.append(f"| **{caller}** | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", sentence(grid), *failures(grid)])


def failures(grid: Grid) -> list[str]:
    """Why there was no media, a line for each reason with the pairs that it met."""
    met: dict[str, dict[str, list[str]]] = {}
    for caller, callee in sorted(grid.attempts, key=lambda pair: tuple(map(list(grid.kinds).index, pair))):
        for reason in grid.reasons((caller, callee)):
            met.setdefault(reason, {}).setdefault(caller, []).append(callee)
    lines = [
        f"- {reason}: " + "; ".join(f"{caller} to {', '.join(callees)}" for caller, callees in pairs.items())
        for reason, pairs in met.items()
    ]
    return ["", "Why there was no media:", "", *lines] if lines else []


def _cell(grid: Grid, pair: Pair) -> str:
    route = grid.route(pair)
    if route is None:
        return ""
    time = grid.median(pair)
    letter = LETTERS[route] + ("" if grid.steady(pair) else "*")
    return letter if time is None else f"{letter} {time:.2f}"


def sentence(grid: Grid) -> str:
    """The summary in words."""
    figures = grid.summary()
    unsteady = sum(not grid.steady(pair) for pair in grid.attempts)
    return (
        f"{figures['pairs']} pairs, {figures['attempts']} calls: {figures['direct']} direct,"
        f" {figures['relay']} by relay, {figures['fail']} without a path;"
        f" answer to media: median {_seconds(figures['median_s'])}, 95 % {_seconds(figures['p95_s'])};"
        f" the run took {figures['took_s']:.0f} s."
        + (f" Pairs whose calls took different routes (*): {unsteady}." if unsteady else "")
    )


def html(grids: Sequence[Grid]) -> str:
    """One page: each grid as a picture, then why calls failed."""
    return page("Calls across NATs", key() + "".join(section(grid) for grid in grids))


def page(heading: str, body: str) -> str:
    """A page without anything from outside; ``body`` is HTML."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(heading)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(heading)}</h1>{body}</html>\n"
    )


def key() -> str:
    """What a grid's colours mean."""
    spans = "".join(f'<span class="{route}">{route}</span>{_WORDS[route]} ' for route in ROUTES)
    return (
        "<p>Rows call columns. Each cell: the route, and the median time from answer to media; dashed:"
        f' its calls took different routes.</p><p class="key">{spans}</p>'
    )


def section(grid: Grid) -> str:
    """One grid as a picture."""
    head = "".join(f'<th scope="col">{escape(kind)}</th>' for kind in grid.kinds)
    rows = "".join(
        f'<tr><th scope="row">{escape(caller)}</th>'
        + "".join(_html_cell(grid, (caller, callee)) for callee in grid.kinds)
        + "</tr>"
        for caller in grid.kinds
    )
    return (
        f"<h2>{escape(title(grid))}</h2><p>{escape(sentence(grid))}</p>"
        f'<div class="wide"><table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        + _failures(grid)
    )


def _html_cell(grid: Grid, pair: Pair) -> str:
    route = grid.route(pair)
    if route is None:
        return '<td class="none" title="not tried"></td>'
    words = f"{pair[0]} calls {pair[1]}: {route}" + "".join(f"; {reason}" for reason in grid.reasons(pair))
    time = grid.median(pair)
    small = "" if time is None else f"<small>{_seconds(time)}</small>"
    mixed = "" if grid.steady(pair) else " mixed"
    return f'<td class="{route}{mixed}" title="{escape(words)}">{route}{small}</td>'


def _failures(grid: Grid) -> str:
    rows = "".join(
        f"<tr><td>{escape(caller)}</td><td>{escape(callee)}</td><td>{escape(reason)}</td></tr>"
        for caller, callee in grid.attempts
        for reason in grid.reasons((caller, callee))
    )
    if not rows:
        return ""
    head = "<tr><th>caller</th><th>callee</th><th>why there was no media</th></tr>"
    return f'<h3>Why there was no media</h3><table class="list">{head}{rows}</table>'
