"""The sandbox that a lab lives in: user, mount, PID and network namespaces that end with their owner.

Law 1: no privilege is needed where the kernel lets users make user namespaces.
Law 2: /run and /dev/shm are private to the sandbox: namespaces have fixed names, labs run side by side, and
       what killed programs leave there goes with the sandbox.
Law 3: when the owner ends, by whatever way, nothing is left: the agent sees its socket close and exits,
       and as it is PID 1 the kernel ends everything else and frees namespaces and mounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from netsim.errors import LabError, LabUnavailable
from netsim.process import Completed, LabProcess
from netsim.steps import Step

AGENT = Path(__file__).with_name("agent.py")
TOOLS = {"unshare": "util-linux", "mount": "mount", "ip": "iproute2"}
"""Programs that the lab needs, and the Debian packages that hold them."""

_SETUP = (
    "mount -t tmpfs tmpfs /run && mkdir -p /run/netns"
    " && { ! [ -d /dev/shm ] || mount -t tmpfs tmpfs /dev/shm; }"
    ' && ip link set lo up && exec "$@"'
)


def find_tool(name: str) -> str | None:
    """Where a system tool is; users' PATH often lacks the sbin folders that hold ``ip`` and ``nft``."""
    return shutil.which(name, path=search_path())


def search_path() -> str:
    """PATH with the sbin folders."""
    return ":".join([os.environ.get("PATH", "/usr/bin:/bin"), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def unshare_command(*, user_namespace: bool) -> list[str]:
    """The command that makes a sandbox."""
    flags = ["--user", "--map-root-user"] if user_namespace else []
    # --fork makes unshare ignore SIGTERM; --kill-child ends the sandbox when unshare itself is killed.
    return [
        find_tool("unshare") or "unshare",
        *flags,
        *("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    ]


def why_unavailable() -> str | None:
    """Why this machine can't run the lab and what would help, or None if it can."""
    if not sys.platform.startswith("linux"):
        return "the lab needs Linux: it is made of network namespaces"
    missing = sorted({package for tool, package in TOOLS.items() if find_tool(tool) is None})
    if missing:
        return f"the lab needs: sudo apt-get install --no-install-recommends {' '.join(missing)}"
    try:
        _working_command()
    except LabUnavailable as error:
        return str(error)
    return None


def _working_command() -> list[str]:
    """How to make a sandbox here. Raises LabUnavailable."""
    reasons: list[str] = []
    # A root that may not make user namespaces (a container with capabilities) does not need one.
    for user_namespace in (True, False) if os.geteuid() == 0 else (True,):
        command = unshare_command(user_namespace=user_namespace)
        probe = subprocess.run(
            [*command, "sh", "-c", _SETUP, "sh", "ip", "netns", "add", "probe"],
            capture_output=True,
            text=True,
            env={"PATH": search_path()},
            check=False,
        )
        if probe.returncode == 0:
            return command
        reasons.append((probe.stderr or probe.stdout).strip())
    raise LabUnavailable(
        f"the lab needs user namespaces, and this system forbids them ({reasons[0]}). "
        + _advice(Path("/proc/sys"))
    )


def _advice(sysctls: Path) -> str:
    """What a user can do about forbidden user namespaces."""
    knobs = {
        "kernel/apparmor_restrict_unprivileged_userns": "0",
        "kernel/unprivileged_userns_clone": "1",
    }
    for knob, wanted in knobs.items():
        path = sysctls / knob
        if path.exists() and path.read_text().strip() != wanted:
            return f"Allow them: sudo sysctl -w {knob.replace('/', '.')}={wanted}"
    limit = sysctls / "user/max_user_namespaces"
    if limit.exists() and limit.read_text().strip() == "0":
        return "Allow them: sudo sysctl -w user.max_user_namespaces=10000"
    return (
        "In a container: run it with --privileged, or --cap-add SYS_ADMIN --security-opt seccomp=unconfined"
    )


def _null_input() -> BinaryIO:
    """What a program without input reads."""
    return Path(os.devnull).open("rb")


class Sandbox:
    """A running sandbox. Make it with :meth:`open`, end it with :meth:`close`."""

    _command: list[str] | None = None  # found once per interpreter: what works does not change

    def __init__(self, channel: socket.socket, unshare: subprocess.Popen[bytes], directory: Path) -> None:
        self._channel = channel
        self._unshare = unshare
        self.directory = directory
        """Logs and files of the lab, outside of the sandbox's private /run."""
        self._requests: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._processes: dict[int, LabProcess] = {}
        self._early_exits: dict[int, int] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._counter = 0
        self._closed = False

    @property
    def pid(self) -> int:
        """The process outside that holds the sandbox; SIGKILL to it ends everything inside."""
        return self._unshare.pid

    @classmethod
    async def open(cls, directory: Path) -> Sandbox:
        """Make one; ``directory`` takes its logs. Raises LabUnavailable."""
        if Sandbox._command is None:
            reason = await asyncio.to_thread(why_unavailable)
            if reason is not None:
                raise LabUnavailable(reason)
            Sandbox._command = await asyncio.to_thread(_working_command)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log = directory / "sandbox.log"
        agent = [sys.executable, "-I", "-S", str(AGENT), str(theirs.fileno())]
        with theirs, log.open("wb") as output:
            unshare = subprocess.Popen(  # noqa: ASYNC220 - fixed command; it only forks
                [*Sandbox._command, "sh", "-c", _SETUP, "sh", *agent],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": search_path()},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches the owner alone, which then closes the lab
            )
        ours.setblocking(False)
        sandbox = cls(ours, unshare, directory)
        asyncio.get_running_loop().add_reader(ours, sandbox._read)
        try:
            await asyncio.wait_for(asyncio.shield(sandbox._ready), 20)
        except (LabError, TimeoutError) as error:
            await sandbox.close()
            raise LabUnavailable(f"the sandbox did not start: {log.read_text().strip() or error}") from error
        return sandbox

    def _read(self) -> None:
        while True:
            try:
                data = self._channel.recv(1 << 18)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self._lost()
                return
            self._handle(json.loads(data))

    def _handle(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._ready.set_result(None)
        elif "exit" in message:
            process = self._processes.pop(message["exit"], None)
            if process is None:
                self._early_exits[message["exit"]] = message["status"]
            else:
                process.mark_ended(message["status"])
        else:
            future = self._requests.pop(message["id"])
            if not future.done():
                future.set_result(message)

    def _lost(self) -> None:
        """The sandbox is gone: everything in it was killed by the kernel."""
        asyncio.get_running_loop().remove_reader(self._channel)
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._requests.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(LabError("the sandbox has ended"))
                future.exception()  # retrieved: a waiter gets it all the same
        for process in self._processes.values():
            process.mark_ended(-signal.SIGKILL)
        self._requests.clear()
        self._processes.clear()
        self._closed = True

    async def _request(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        if self._closed:
            raise LabError("the sandbox has ended")
        self._counter += 1
        number = self._counter
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._requests[number] = future
        data = json.dumps({"id": number, **message}).encode()
        while True:
            try:
                socket.send_fds(self._channel, [data], list(descriptors))
                break
            except BlockingIOError:
                await asyncio.sleep(0.001)
        reply = await future
        if "error" in reply:
            raise LabError(reply["error"])
        return reply

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        namespace: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | None = None,
    ) -> LabProcess:
        """Start a program in a network namespace (None: the sandbox's own). Raises LabError."""
        where = namespace or "sandbox"
        handle, out = tempfile.mkstemp(
            prefix=f"{where}-{Path(argv[0]).name}-", suffix=".out", dir=self.directory
        )
        stdout_path = Path(out)
        stderr_path = stdout_path.with_suffix(".err")
        full_env = {**os.environ, "PATH": search_path(), **(env or {})}
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, handle)
            stderr = stack.enter_context(stderr_path.open("wb"))
            null = stack.enter_context(_null_input())
            reply = await self._request(
                {
                    "op": "spawn",
                    "argv": list(argv),
                    "env": full_env,
                    "cwd": str(cwd or self.directory),
                    "namespace": namespace,
                },
                [null.fileno() if stdin is None else stdin, handle, stderr.fileno()],
            )
        pid = reply["pid"]
        process = LabProcess(tuple(argv), where, pid, stdout_path, stderr_path, self._signal)
        if pid in self._early_exits:
            process.mark_ended(self._early_exits.pop(pid))
        else:
            self._processes[pid] = process
        return process

    async def _signal(self, pid: int, number: int, group: bool) -> None:
        with contextlib.suppress(LabError):  # it ended in the meantime
            await self._request({"op": "signal", "pid": pid, "signal": number, "group": group})

    async def run(
        self,
        argv: Sequence[str],
        *,
        namespace: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        input_text: str | None = None,
        timeout: float = 60.0,
    ) -> Completed:
        """Run a program to its end. Raises LabError, NeverHappened (then it was killed)."""
        with contextlib.ExitStack() as stack:
            stdin = None
            if input_text is not None:
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(input_text.encode())
                file.seek(0)
                stdin = file.fileno()
            process = await self.spawn(argv, namespace=namespace, env=env, cwd=cwd, stdin=stdin)
        try:
            return await process.wait(timeout)
        finally:
            if process.running:
                await process.signal(signal.SIGKILL)

    async def ip(self, lines: Sequence[str], *, namespace: str | None = None) -> None:
        """Run commands of the ``ip`` tool in one batch. Raises CommandFailed."""
        (
            await self.run(["ip", "-batch", "-"], namespace=namespace, input_text="\n".join(lines) + "\n")
        ).check()

    async def steps(self, steps: Sequence[Step]) -> None:
        """Carry out set-up steps one after the other, without a process for each. Raises LabError."""
        message = {"op": "steps", "steps": [asdict(step) for step in steps], "env": {"PATH": search_path()}}
        await self._request(message)

    def enter_command(self, namespace: str) -> list[str]:
        """What to put before a command so that it runs in a namespace, on the terminal of whoever runs it."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        user = ["--user", "--preserve-credentials"] if "--user" in (Sandbox._command or []) else []
        nsenter = find_tool("nsenter") or "nsenter"
        inside = [nsenter, "--target", children[0], *user, "--mount", "--pid"]
        return [*inside, nsenter, f"--net=/run/netns/{namespace}"]

    async def stop_all(self, grace: float = 5.0) -> None:
        """Stop every program that still runs, politely first."""
        await asyncio.gather(*(process.stop(grace) for process in list(self._processes.values())))

    async def close(self) -> None:
        """End everything in the sandbox. Idempotent."""
        loop = asyncio.get_running_loop()
        if not self._closed:
            self._channel.shutdown(socket.SHUT_RDWR)
            self._lost()
        loop.remove_reader(self._channel)
        self._channel.close()
        try:
            await asyncio.to_thread(self._unshare.wait, 5)
        except subprocess.TimeoutExpired:
            self._unshare.kill()
            await asyncio.to_thread(self._unshare.wait)
