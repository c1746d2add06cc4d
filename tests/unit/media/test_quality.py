"""When a path is called degraded, and when it is well again."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.media.quality import Quality


def test_a_good_path_is_never_degraded() -> None:
    """Answers in time, few packets lost, now and then a slow answer."""
    quality = Quality()
    for second in range(600):
        now = 1000.0 + second
        quality.measured(2.0 if second % 3 == 0 else 0.05, now)
        quality.unanswered(0.3, now)
        quality.counted(50 * second, 2 * second, now)
        assert quality.trouble(now) == ""


def test_no_answer_for_a_second_is_told_and_held() -> None:
    """It flickers not, and is over some seconds after the last sign."""
    quality = Quality()
    quality.unanswered(limits.QUALITY_SILENT - 0.01, 1000.0)
    assert quality.trouble(1000.0) == ""
    quality.unanswered(limits.QUALITY_SILENT, 1000.5)
    quality.unanswered(0.0, 1001.0)
    assert quality.trouble(1001.0) == "silent"
    assert quality.trouble(1000.5 + limits.QUALITY_HOLD) == ""


def test_slow_answers_in_a_row_are_told() -> None:
    """Two of them are chance."""
    quality = Quality()
    for number, rtt in enumerate((0.7, 0.7, 0.1, 0.7, 0.7)):
        quality.measured(rtt, 1000.0 + number)
        assert quality.trouble(1000.0 + number) == ""
    quality.measured(0.7, 1005.0)
    assert quality.trouble(1005.0) == "slow"


@pytest.mark.parametrize(("lost", "expected"), [(4, ""), (5, "loss"), (25, "loss")])
def test_loss_of_late_is_told(lost: int, expected: str) -> None:
    """Of the last seconds; what was lost before does not count for ever."""
    quality = Quality()
    now, sent, missing = 1000.0, 0, 0
    for _ in range(20):
        now, sent, missing = now + 1, sent + 50, missing + lost
        quality.counted(sent, missing, now)
    assert quality.trouble(now) == expected
    for _ in range(20):
        now, sent = now + 1, sent + 50
        quality.counted(sent, missing, now)
    assert quality.trouble(now) == ""


def test_few_packets_say_nothing_and_the_worst_word_comes_first() -> None:
    """A muted end sends little; a path that is silent is not called lossy."""
    quality = Quality()
    quality.counted(0, 0, 1000.0)
    quality.counted(limits.QUALITY_PACKETS_MIN - 1, 40, 1001.0)
    assert quality.trouble(1001.0) == ""
    quality.counted(limits.QUALITY_PACKETS_MIN, 40, 1002.0)
    assert quality.trouble(1002.0) == "loss"
    quality.unanswered(1.5, 1002.0)
    assert quality.trouble(1002.0) == "silent"


def test_a_machine_that_is_too_slow_is_told_last() -> None:
    """It is the call that suffers, not the path; what ails the path goes first."""
    quality = Quality()
    quality.overloaded(1000.0)
    assert quality.trouble(1000.0) == "cpu"
    quality.unanswered(1.5, 1000.5)
    assert quality.trouble(1000.5) == "silent"
    assert quality.trouble(1000.0 + limits.QUALITY_HOLD + 1) == ""


def test_smaller_pictures_are_told_while_nothing_worse_is() -> None:
    quality = Quality()
    quality.narrowed(1000.0)
    assert quality.trouble(1000.5) == "narrow"
    quality.unanswered(1.5, 1001.0)
    assert quality.trouble(1001.0) == "silent"
    assert quality.trouble(1000.0 + limits.QUALITY_HOLD + 1.5) == ""
