"""What a program gives back after its start."""

from __future__ import annotations

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
