"""When an encoder makes a keyframe, of all that its receivers ask for. Pure.

Law 1: two keyframes that were asked for are at least KEYFRAME_INTERVAL apart, whoever asks and how often.
Law 2: who asks is served: by the next picture, or the first one after the interval.
"""

from __future__ import annotations

from meshcall import limits


class Keyframes:
    """Of one encoder."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._wanted = False
        self.asked = 0
        """How often somebody asked."""

    def want(self) -> None:
        """A receiver can't go on without one."""
        self.asked += 1
        self._wanted = True

    def due(self, now: float) -> bool:
        """Whether the picture that is encoded ``now`` (seconds) shall be one."""
        return self._wanted and now - self._last >= limits.KEYFRAME_INTERVAL

    def made(self, now: float) -> None:
        """The encoder made one, asked or not."""
        self._last = now
        self._wanted = False
