"""Times as people write and read them."""

from __future__ import annotations

import pytest

from meshcall.cli.durations import format_age, format_duration, parse_duration
from meshcall.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("1.5", 1.5), ("90s", 90), ("10m", 600), ("2 min", 120), ("24h", 86400), ("7d", 604800),
     ("250ms", 0.25), (" 5S ", 5)],
)  # fmt: skip
def test_parse(text: str, seconds: float) -> None:
    """A bare number is seconds; units are the usual ones."""
    assert parse_duration(text, "--timeout") == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "-5", "5x", "1e3", "nan", "inf", "0", "8d", "9" * 30, "1.2.3", "５", "5 5"]
)
def test_refuse(text: str) -> None:
    """What is no time, or none that can be meant, is refused with the option's name."""
    with pytest.raises(UsageError, match="--timeout"):
        parse_duration(text, "--timeout")


def test_zero_is_allowed_where_it_means_something() -> None:
    """``--wait 0`` is not to wait."""
    assert parse_duration("0", "--wait", zero=True) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (185, "3 min 5 s"), (86400, "1 d"), (90000, "1 d 1 h"),
     (86399.9, "1 d"), (-3, "0 s"), (3605, "1 h")],
)  # fmt: skip
def test_format(seconds: float, text: str) -> None:
    """Two units say enough, and they are neighbours."""
    assert format_duration(seconds) == text


def test_age() -> None:
    """How long ago, or nothing."""
    assert format_age(None, 10_000) == ""
    assert format_age(9_500, 10_000) == "now"
    assert format_age(0, 65_000) == "1 min 5 s ago"
