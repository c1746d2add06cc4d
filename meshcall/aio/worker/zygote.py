"""The process that workers are forked from: it has loaded the media engine, and does nothing else.

Law 1: it has one thread and no loop, so a fork of it is whole.
Law 2: it holds no key and no socket but the one to the node; it ends when the node does, and its workers too.
Law 3: who a worker is is told by a descriptor of the process, which can't come to mean another one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

from meshcall import limits
from meshcall.memory import share_arenas
from meshcall.redaction import RedactingFormatter


def main() -> None:
    """``python -m meshcall.aio.worker.zygote FD LEVEL``: serve forks until the node closes its end."""
    # Ctrl-C and a stop of the service go to the node, which ends its calls first
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    share_arenas()  # the workers have it from here
    node = socket.socket(fileno=int(sys.argv[1]))
    _set_up_logging(int(sys.argv[2]))
    from meshcall.aio.media import libopus
    from meshcall.aio.worker.program import run
    from meshcall.aio.worker.warming import warm_up

    libopus.available()  # it is looked for with programs and files that a worker has no leave for
    asyncio.run(warm_up())
    gc.collect()
    gc.freeze()  # what is loaded stays shared with the workers
    children: set[int] = set()
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable = select.select([node.fileno(), wake], [], [])[0]
        if wake in readable:
            _reap(wake, children)
        if node.fileno() in readable and not _fork(node, children, run):
            break
    _end(children)


def _set_up_logging(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("meshcall").setLevel(level)
    logging.captureWarnings(True)


def _fork(node: socket.socket, children: set[int], run: object) -> bool:
    """Make a worker for the command socket that the node sends; whether there is a node."""
    try:
        data, fds, _, _ = socket.recv_fds(node, 16, 1)
    except OSError:
        return False
    if not data:
        return False
    pid = os.fork()
    if pid == 0:
        _become_worker(node, fds[0], run)
    os.close(fds[0])
    children.add(pid)
    handle = os.pidfd_open(pid)
    with suppress(OSError):
        socket.send_fds(node, [struct.pack("!I", pid)], [handle])
    os.close(handle)
    return True


def _become_worker(node: socket.socket, fd: int, run: object) -> None:
    assert callable(run), "it is program.run"
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        node.close()
        run(socket.socket(fileno=fd))
        status = 0
    except BaseException:
        logging.getLogger("meshcall.media").exception("a media worker met a bug")
    finally:
        os._exit(status)


def _reap(wake: int, children: set[int]) -> None:
    with suppress(BlockingIOError):
        while os.read(wake, 64):
            pass
    for pid in tuple(children):
        if os.waitpid(pid, os.WNOHANG)[0]:
            children.discard(pid)


def _end(children: set[int]) -> None:
    """The workers see the node's end themselves; those that don't are killed."""
    deadline = time.monotonic() + limits.WORKER_END
    while children and time.monotonic() < deadline:
        time.sleep(0.02)
        for pid in tuple(children):
            if os.waitpid(pid, os.WNOHANG)[0]:
                children.discard(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
