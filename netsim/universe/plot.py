"""Line plots as SVG, written by hand: no library, the same octets for the same numbers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 44, 50
COLOURS = ("#0b62a4", "#c0392b", "#2e7d32", "#7b5ea7")
"""Of the lines that have a name, in their order; the others are grey."""
_MARKS = 12
"""A line of more points has no dots."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    name: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def _ticks(top: float) -> list[float]:
    """Five round numbers or so from 0 up."""
    rough = max(top, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return [step * n for n in range(math.ceil(top / step) + 1)]


def plot(title: str, x_name: str, y_name: str, lines: Sequence[Line], *, log_x: bool = False) -> str:
    """An SVG document; ``log_x``: powers of ten at equal distances."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    scale = math.log10 if log_x else float
    x_ticks = sorted(set(xs)) if log_x else _ticks(max(xs))
    low, high = scale(min(x_ticks)), scale(max(x_ticks))
    y_ticks = _ticks(max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (scale(x) - low) / (high - low or 1.0)
        up = y / y_ticks[-1]
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" fill="#222222">{escape(title)}</text>',
    ]
    for tick in y_ticks:
        _, y = at(x_ticks[0], tick)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#444444">{tick:g}</text>')
    for tick in x_ticks:
        x, _ = at(tick, 0)
        out.append(f'<path d="M{x:.1f} {HEIGHT - BOTTOM}v5" stroke="#444444"/>')
        out.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle" fill="#444">{tick:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 10}" text-anchor="middle" fill="#222">{escape(x_name)}</text>'
    )
    out.append(
        f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle" fill="#222222">{escape(y_name)}</text>'
    )
    names = [line.name for line in lines if line.name]
    for line in lines:
        place = names.index(line.name) if line.name else 0
        colour = COLOURS[place % len(COLOURS)] if line.name else "#888888"
        spots = [at(x, y) for x, y in line.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        dashes = ' stroke-dasharray="5 4"' if line.dashed else ""
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        if not line.dashed and len(spots) <= _MARKS:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in spots]
        if line.name:
            x = LEFT + 12 + 110 * place
            out.append(f'<text x="{x}" y="{TOP - 8}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join([*out, "</svg>", ""])
