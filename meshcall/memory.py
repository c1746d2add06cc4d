"""Memory that a program needs only to start, given back to the system.

Law: nothing is lost by it. What is needed after all is mapped again, from the kernel's cache of files.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from typing import Final

_MADV_DONTNEED: Final = 4  # madvise(2)


def give_back() -> None:
    """Holes that loading left in the heap, and pages of libraries that nothing reads again.

    Both stay until glibc and the kernel are told. Where they can't be told, nothing happens.
    """
    gc.collect()
    with suppress(OSError, AttributeError, ValueError):
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        for start, size in unwritten_files(Path("/proc/self/smaps").read_text()):
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_DONTNEED)


def unwritten_files(smaps: str) -> list[tuple[int, int]]:
    """(start, octets) of the mappings of files that are as in the file: proc(5), ``/proc/pid/smaps``.

    Nothing of them was ever written (``Anonymous`` counts what was, relocated data too) or can be, so
    dropping them loses nothing.
    """
    found: list[tuple[int, int]] = []
    span, usable = (0, 0), False
    for line in smaps.splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            low, _, high = words[0].partition("-")
            span = int(low, 16), int(high, 16) - int(low, 16)
            usable = "w" not in words[1] and len(words) > 5 and words[5].startswith("/")
        elif words[0] == "Anonymous:" and usable and words[1] == "0":
            found.append(span)
    return found
