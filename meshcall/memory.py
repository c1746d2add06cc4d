"""How little memory a program keeps: what only its start needed, and what calls that ended leave.

Law: nothing is lost by it. What is needed after all is mapped again, from the kernel's cache of files.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_MADV_DONTNEED: Final = 4  # madvise(2)
_M_ARENA_MAX: Final = -8  # mallopt(3)
_ARENAS: Final = 2
"""As few as keep the event loop and one codec from waiting for each other."""


def share_arenas() -> None:
    """Have all threads allocate from the same few arenas; call it before there are any.

    glibc gives each thread its own, up to eight for each core. Those of codecs come and go with each call,
    and what they leave free in one arena is of no use to the next one: hundreds of megabytes after some
    hundred calls. Where it can't be told, nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


@contextmanager
def loading() -> Iterator[None]:
    """While a program loads what stays until it ends: nobody looks through that for garbage, now or later.

    It is a hundred thousand objects, and a look through them holds up the loop for 30 ms. Garbage that is
    there at the end is kept for ever, so nothing else is done meanwhile.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def trim_heap() -> None:
    """What is free in the heap: glibc keeps whatever lies below something that is not. Takes some ms.

    Where it can't be told, nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back() -> None:
    """Holes that loading left in the heap, and pages of libraries that nothing reads again.

    Both stay until glibc and the kernel are told. Where they can't be told, nothing happens.
    """
    gc.collect()
    trim_heap()
    with suppress(OSError, AttributeError, ValueError):
        libc = ctypes.CDLL(None)
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
