"""The first process of a lab: it starts programs inside the lab's namespaces and reports how they end.

Law 1: it is PID 1 of the lab's PID namespace, so when it goes, the kernel ends everything in the lab.
Law 2: it goes when its socket reaches end of file: when whoever made the lab is gone, however it went.
Law 3: it decides nothing; it carries out one request at a time. Steps are short commands that set up a
       namespace: they run here one after the other, because a process for each would take most of the time.
Law 4: it needs the standard library alone and runs as a plain script (``python -I -S agent.py FD``),
       so that a lab starts in tens of milliseconds.

One request or reply is one message of a SOCK_SEQPACKET socket, in JSON::

    request   {"id": 7, "op": "spawn", "argv": [...], "env": {...}, "cwd": "/tmp", "namespace": "alice"}
              with three file descriptors: stdin, stdout, stderr
    request   {"id": 8, "op": "signal", "pid": 12, "signal": 15, "group": true}
    request   {"id": 9, "op": "steps", "steps": [{"namespace": "alice", "argv": ["nft", "-f", "-"],
              "input": "...", "sysctls": {"net/ipv4/ip_forward": "1"}}, ...], "env": {...}}
    reply     {"id": 7, "pid": 12}     or     {"id": 7, "error": "No such file or directory: 'x'"}
    event     {"exit": 12, "status": 0}     (negative: ended by that signal)
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from typing import Any

CLONE_NEWNET = 0x40000000
MAX_MESSAGE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def enter_network(namespace: str) -> None:
    """Move this process into the network namespace pinned at /run/netns. Raises OSError."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), namespace)
    finally:
        os.close(descriptor)


def write_sysctl(name: str, value: str) -> None:
    """Set ``name`` below /proc/sys for the present network namespace. Raises OSError."""
    with open(f"/proc/sys/{name}", "w") as file:  # noqa: PTH123 - pathlib would double the agent's start
        file.write(value)


def run_step(argv: list[str], text: str, env: dict[str, str]) -> None:
    """Run a short command to its end. Raises OSError with what it said."""
    done = subprocess.run(argv, input=text, env=env, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr or done.stdout}")


class Agent:
    """Carries out requests from ``channel`` until it is closed."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._operations = {"spawn": self._spawn, "signal": self._signal, "steps": self._steps}

    def run(self) -> None:
        """Serve until the channel ends."""
        wakeup, signal_end = socket.socketpair()
        wakeup.setblocking(False)
        signal_end.setblocking(False)
        signal.set_wakeup_fd(signal_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(self._channel, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        self._send({"ready": os.getpid()})
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if wakeup in ready:
                wakeup.recv(4096)
                self._reap()
            if self._channel in ready and not self._serve():
                return

    def _serve(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, MAX_MESSAGE, 3)
        except ConnectionError:
            return False
        if not data:
            return False
        request = json.loads(data)
        try:
            reply = self._operations[request["op"]](request, descriptors)
        except (OSError, subprocess.SubprocessError) as error:
            reply = {"error": str(error)}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._send({"id": request["id"], **reply})
        return True

    def _spawn(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        namespace = request["namespace"]
        child = subprocess.Popen(
            request["argv"],
            env=request["env"],
            cwd=request["cwd"],
            stdin=descriptors[0],
            stdout=descriptors[1],
            stderr=descriptors[2],
            start_new_session=True,
            preexec_fn=(lambda: enter_network(namespace)) if namespace else None,
        )
        self._children[child.pid] = child
        return {"pid": child.pid}

    def _steps(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        try:
            for step in request["steps"]:
                if step["namespace"]:
                    enter_network(step["namespace"])
                else:
                    self._leave_network()
                for name, value in step["sysctls"].items():
                    write_sysctl(name, value)
                if step["argv"]:
                    run_step(step["argv"], step["input"], request["env"])
        finally:
            self._leave_network()
        return {}

    def _leave_network(self) -> None:
        if _libc.setns(self._network, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "the agent can't go back to its own network namespace")

    def _signal(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        # A child leads its own session, so its process group holds what it started too.
        if request["pid"] in self._children:
            send = os.killpg if request["group"] else os.kill
            send(request["pid"], request["signal"])
        return {}

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue  # an orphan that PID 1 inherited
            child.returncode = os.waitstatus_to_exitcode(status)
            self._send({"exit": pid, "status": child.returncode})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(json.dumps(message).encode())
        except ConnectionError:
            sys.exit(0)


def main() -> None:
    """Serve on the descriptor given as the only argument."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    Agent(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    main()
