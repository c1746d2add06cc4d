"""Segments whose frames are delayed, lost and slowed: by the kernel's netem, or by a switch of our own.

Law 1: what netem can't do in the sense of :mod:`netsim.link` is refused, or done by the switch; it is never
left out.
Law 2: conditions are those of frames that a namespace sends; each direction has its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from netsim.errors import LabError, LabUnavailable
from netsim.link import LinkConditions
from netsim.namespaces import Sandbox
from netsim.process import LabProcess
from netsim.steps import Step
from netsim.switch import TUN

ROOT = Path(__file__).resolve().parent.parent

Links = Literal["auto", "netem", "userspace"]
"""``auto``: netem where the kernel has it and can keep the conditions, else the switch."""


class Emulation(Protocol):
    """What keeps the conditions of one segment."""

    async def set(self, conditions: LinkConditions, namespace: str | None = None) -> None:
        """From now on frames that ``namespace`` (None: any) sends meet these. Raises LabError."""

    def close(self) -> None:
        """Give back what this process holds. Idempotent."""


class SwitchEmulation:
    """A userspace switch (:mod:`netsim.switch`). It makes the devices itself."""

    def __init__(self, process: LabProcess, control: int) -> None:
        self._process = process
        self._control: int | None = control
        self._changes = 0

    @classmethod
    async def start(
        cls, sandbox: Sandbox, devices: Mapping[str, str], conditions: LinkConditions, seed: int | str
    ) -> SwitchEmulation:
        """``devices``: one for each namespace; they are down. Raises LabError, NeverHappened."""
        setup = {
            "ports": [{"namespace": name, "device": device} for name, device in devices.items()],
            "conditions": conditions.to_json(),
            "seed": seed,
        }
        reader, control = os.pipe()
        try:
            # -S: the switch needs the standard library and this package alone, and starts faster so.
            process = await sandbox.spawn(
                [sys.executable, "-S", "-m", "netsim.switch"],
                env={"PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdin=reader,
            )
            os.write(control, json.dumps(setup).encode() + b"\n")
            await process.wait_for_line("^ready$")
        except BaseException:
            os.close(control)
            raise
        finally:
            os.close(reader)
        return cls(process, control)

    async def set(self, conditions: LinkConditions, namespace: str | None = None) -> None:
        """Tell the switch, and wait until it has changed."""
        if self._control is None:
            raise LabError("the lab is closed")
        message = {"conditions": conditions.to_json()} | ({"port": namespace} if namespace else {})
        os.write(self._control, json.dumps(message).encode() + b"\n")
        self._changes += 1
        await self._process.wait_for_line("(?:changed\n){" + str(self._changes) + "}")

    def close(self) -> None:
        """The switch ends when its input does."""
        if self._control is not None:
            os.close(self._control)
            self._control = None


class NetemEmulation:
    """The kernel's netem on devices that are there already."""

    def __init__(self, sandbox: Sandbox, devices: Mapping[str, str]) -> None:
        self._sandbox = sandbox
        self._devices = dict(devices)

    async def set(self, conditions: LinkConditions, namespace: str | None = None) -> None:
        """Replace the queueing disciplines; what is under way is lost."""
        try:
            words = conditions.to_netem()
        except ValueError as error:
            raise LabError(f"{error}; open the lab with links='userspace'") from None
        names = list(self._devices) if namespace is None else [namespace]
        await self._sandbox.steps([netem_step(name, self._devices[name], words) for name in names])

    def close(self) -> None:
        """Nothing is held."""


def netem_step(namespace: str, device: str, words: list[str]) -> Step:
    """Put netem on a device, in place of what is there."""
    return Step(namespace, ("tc", "qdisc", "replace", "dev", device, "root", *words))


async def choose(sandbox: Sandbox, links: Links, conditions: LinkConditions) -> Literal["netem", "userspace"]:
    """What is to keep ``conditions`` here. Raises LabError when netem was asked for and can't."""
    if links == "userspace":
        return _userspace()
    able = await has_netem(sandbox)
    try:
        conditions.to_netem()
    except ValueError as error:
        if links == "netem":
            raise LabError(str(error)) from None
        return _userspace()
    if links == "netem" and not able:
        raise LabError("this kernel has no netem (CONFIG_NET_SCH_NETEM), or there is no tc (iproute2)")
    return "netem" if able else _userspace()


def _userspace() -> Literal["userspace"]:
    if not os.access(TUN, os.R_OK | os.W_OK):
        raise LabUnavailable(
            f"this user may not open {TUN}, which links need here: as root, chmod 0666 {TUN}"
        )
    return "userspace"


_found: dict[str, bool] = {}
"""Whether this machine has netem, once that is known."""


async def has_netem(sandbox: Sandbox) -> bool:
    """Whether the kernel has netem; tried once."""
    if "netem" not in _found:
        try:
            await sandbox.steps([Step(None, ("tc", "qdisc", "add", "dev", "lo", "root", "netem"))])
            await sandbox.steps([Step(None, ("tc", "qdisc", "del", "dev", "lo", "root"))])
            _found["netem"] = True
        except LabError:
            _found["netem"] = False
    return _found["netem"]
