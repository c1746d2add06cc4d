"""A program whose clock is wrong: the time of day is shifted, time intervals are not; or all goes faster.

libfaketime (package ``faketime``) shifts ``CLOCK_REALTIME`` inside the program; ``CLOCK_MONOTONIC``, and with
it every timeout, stays. Its version 0.9.10 breaks ``clock_nanosleep``, which ``time.sleep`` uses since Python
3.11, so Python programs get another ``sleep`` from ``netsim/faketime/sitecustomize.py``.

::

    clock = WrongClock(host, offset=90)
    daemon = await host.popen(argv, env=clock.env)
    clock.set(-3600)                                  while it runs
    clock = WrongClock(host, rate=20)                 ten minutes in half a one, timeouts included
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from netsim.errors import LabUnavailable
from netsim.host import Host

LIBRARY = "faketime/libfaketimeMT.so.1"
FOLDERS = ("/usr/lib", "/usr/local/lib", "/lib")


def find_library() -> Path:
    """Where libfaketime is. Raises LabUnavailable."""
    for folder in FOLDERS:
        for path in sorted([*Path(folder).glob(LIBRARY), *Path(folder).glob(f"*/{LIBRARY}")]):
            return path
    raise LabUnavailable("a wrong clock needs: sudo apt-get install --no-install-recommends faketime")


class WrongClock:
    """A clock that is ``offset`` seconds fast, for any number of programs of a host."""

    def __init__(self, host: Host, offset: float = 0.0, *, rate: float = 1.0) -> None:
        """``rate``: how fast it goes; other than 1, intervals go with it. Raises LabUnavailable."""
        self._rate = rate
        self._library = find_library()
        handle, name = tempfile.mkstemp(prefix="clock-", dir=host.directory)
        os.close(handle)
        self._file = Path(name)
        self.set(offset)

    def set(self, offset: float) -> None:
        """Another offset, also for programs that run."""
        # Replaced in one step: a program may be reading it.
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset:+f} x{self._rate:f}\n" if self._rate != 1.0 else f"{offset:+f}\n")
        fresh.replace(self._file)

    @property
    def env(self) -> dict[str, str]:
        """What a program's environment needs besides."""
        here = str(Path(__file__).with_name("faketime"))
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            **({"FAKETIME_DONT_FAKE_MONOTONIC": "1"} if self._rate == 1.0 else {}),
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": ":".join(filter(None, [here, os.environ.get("PYTHONPATH", "")])),
        }
