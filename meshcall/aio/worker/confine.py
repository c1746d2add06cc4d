"""What a worker gives up before it reads a peer's first octet (Linux; each step where the kernel has it).

Law 1: no new privileges, no core file, a cap on memory and on descriptors.
Law 2: of the file system it reads programs and libraries, devices and the source, and writes to the folder of
the recording: so it can't read the node's key, and (Landlock) can't signal or trace the node either.
Law 3: it opens no socket, unless it reads a screen, and runs no program (seccomp): what it has to say, it
says to the node.
A step that the kernel does not know is left out: the process border holds without it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from meshcall import limits

_log = logging.getLogger("meshcall.media")

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_FILTER: Final = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_GET_VERSION: Final = 1
_PATH_BENEATH: Final = 1

# access rights of Landlock (linux/landlock.h)
_EXECUTE, _WRITE, _READ, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG, _TRUNCATE, _IOCTL = 1 << 5, 1 << 8, 1 << 14, 1 << 15
_ALL_SINCE: Final = ((1, (1 << 13) - 1), (2, 1 << 13), (3, _TRUNCATE), (5, _IOCTL))
_OF_FILES: Final = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_TCP: Final = 0b11
_ABSTRACT_SOCKETS, _SIGNALS = 0b01, 0b10  # scopes

_SYSTEM: Final = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    "/nix/store",
    "/run/udev",
)
_DEVICES: Final = ("/dev",)

# what makes sockets, runs programs and reaches into other processes
_FORBIDDEN: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    "x86_64": (0xC000003E, (41, 42, 49, 59, 101, 310, 311, 322, 425)),
    "aarch64": (0xC00000B7, (198, 200, 203, 117, 221, 270, 271, 281, 425)),
}
"""socket, connect, bind, execve, ptrace, process_vm_readv and _writev, execveat, io_uring_setup."""
_OF_SOCKETS: Final = 3
"""How many of them, the first, are about sockets."""


def confine(reads: Sequence[Path], writes: Sequence[Path], *, sockets: bool = False) -> None:
    """Give up what is not needed, for good; to be called while the process has one thread.

    ``reads``: files that are read; ``writes``: folders that files are made in. ``sockets``: it may open some
    (a screen is read from the X server).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_DATA, limits.WORKER_MEMORY_MAX)
    _lower(resource.RLIMIT_NOFILE, limits.WORKER_FDS_MAX)
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        _log.debug("a media worker keeps its privileges: %s", os.strerror(ctypes.get_errno()))
        return
    _close_files(libc, reads, writes, sockets=sockets)
    _close_system(libc, sockets=sockets)


def _lower(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _close_files(libc: ctypes.CDLL, reads: Iterable[Path], writes: Iterable[Path], *, sockets: bool) -> None:
    version = libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION)
    if version < 1:
        _log.debug("this kernel has no Landlock")
        return
    handled = sum(rights for since, rights in _ALL_SINCE if version >= since)
    ports = _TCP if version >= 4 and not sockets else 0
    scopes = (_SIGNALS if sockets else _SIGNALS | _ABSTRACT_SOCKETS) if version >= 6 else 0
    attributes = struct.pack("QQQ", handled, ports, scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, attributes, size, 0)
    if ruleset < 0:
        _log.debug("Landlock: %s", os.strerror(ctypes.get_errno()))
        return
    rules: list[tuple[str | Path, int]] = [(one, _READ | _READ_DIR | _EXECUTE) for one in _SYSTEM]
    rules += [(one, _READ | _READ_DIR | _EXECUTE) for one in {sys.prefix, sys.base_prefix, *sys.path} if one]
    rules += [(one, _READ | _READ_DIR | _WRITE | _IOCTL) for one in _DEVICES]
    rules += [(one, _READ) for one in reads]
    rules += [(one, _READ | _READ_DIR | _WRITE | _MAKE_REG | _TRUNCATE | _REMOVE_FILE) for one in writes]
    for path, rights in rules:
        _allow(libc, ruleset, path, rights & handled)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        _log.debug("Landlock: %s", os.strerror(ctypes.get_errno()))
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str | Path, rights: int) -> None:
    with suppress(OSError):  # what is not there needs no leave
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not Path(path).is_dir():
                rights &= _OF_FILES
            rule = struct.pack("=Qi", rights, fd)
            if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0):
                _log.debug("Landlock: %s", os.strerror(ctypes.get_errno()))
        finally:
            os.close(fd)


def _close_system(libc: ctypes.CDLL, *, sockets: bool) -> None:
    """Let what is forbidden fail with EACCES, by a BPF program (linux/seccomp.h, linux/filter.h)."""
    machine = platform.machine()
    if machine not in _FORBIDDEN:
        return
    architecture, numbers = _FORBIDDEN[machine]
    numbers = numbers[_OF_SOCKETS:] if sockets else numbers
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 13
    count = len(numbers)
    program = [
        (load, 0, 0, 4),  # the architecture
        (equal, 0, count + 3, architecture),  # another's numbers mean other calls: refuse
        (load, 0, 0, 0),  # the number
        (at_least, count + 1, 0, 0x40000000),  # x32
        *((equal, count - index, 0, number) for index, number in enumerate(numbers)),
        (give, 0, 0, allow),
        (give, 0, 0, refuse),
    ]
    # jumps count from the next instruction
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    head = struct.pack("HP", len(program), ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, head, 0, 0):
        _log.debug("seccomp: %s", os.strerror(ctypes.get_errno()))
