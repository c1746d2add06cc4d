"""What a program gives back after its start."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from meshcall.memory import unwritten_files

SMAPS = """\
5000000000-5000002000 r--p 00000000 08:01 11 /usr/lib/one.so
Size:                  8 kB
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
5000002000-5000003000 r--p 00002000 08:01 11 /usr/lib/one.so
Anonymous:             4 kB
5000003000-5000004000 rw-p 00003000 08:01 11 /usr/lib/one.so
Anonymous:             0 kB
5000004000-5000008000 r-xp 00000000 08:01 12 /usr/lib/a name.so
Anonymous:             0 kB
6000000000-6000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ff000000000-7ff000001000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
"""


def test_only_what_is_as_in_its_file_is_given_back() -> None:
    """Relocated data (``Anonymous``), what may be written, and what is no file's stays."""
    assert unwritten_files(SMAPS) == [(0x5000000000, 0x2000), (0x5000004000, 0x4000)]


def test_nothing_is_made_of_nothing() -> None:
    """A system that tells nothing."""
    assert unwritten_files("") == []


LOADING = """
import gc
from meshcall.memory import loading
with loading():
    assert not gc.isenabled()
    kept = [[] for _ in range(50_000)]
assert gc.isenabled()
looked_through = gc.get_objects()
print(any(one is kept for one in looked_through), len(looked_through) < 10_000)
"""


def test_what_was_loaded_is_looked_through_no_more() -> None:
    """It is in none of the generations that are searched for garbage; what is made later is."""
    told = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True"]


ARENAS = """
import ctypes, sys, threading
from meshcall.memory import share_arenas
if len(sys.argv) > 1:
    share_arenas()
together = threading.Barrier(8)
def allocate():
    together.wait()
    kept = [bytearray(1000) for _ in range(1000)]
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def arenas(*arguments: str) -> int:
    """How many a program has after eight threads allocated at once."""
    told = subprocess.run(
        [sys.executable, "-c", ARENAS, *arguments], capture_output=True, text=True, check=True
    )
    return len(re.findall("<heap nr=", told.stdout))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_threads_share_arenas() -> None:
    """Threads of codecs that come and go leave no arena each."""
    assert arenas() > 2, "else there is nothing to share"
    assert arenas("shared") <= 2
