"""What a scenario can say in a step: one type for each verb, named by ``do``. Pure.

Law 1: every fault of :mod:`netsim.faults` has its verb, of the same name.
Law 2: an expectation may have a ``gap``, the reason why it is not met as things are; then it must not be met.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(ge=0, le=600)]
Offset = Annotated[float, Meta(ge=-1e8, le=1e8)]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,13}$")]
Names = Annotated[tuple[Name, ...], Meta(min_length=1)]


class Expectation(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a step expects, and whether it is known that it does not come true."""

    gap: str = ""
    """Why the expectation is not met as things are. When it is met after all, the scenario fails: the gap is
    closed and must go from the file."""


class CallStep(Expectation, tag_field="do", tag="call", rename={"caller": "from", "callee": "to"}):
    """``from`` calls ``to``; the call goes on until ``hang_up``."""

    caller: Name
    callee: Name
    expect: Literal["direct", "relay", "media", "fail", "any"] = "media"
    """Its route; ``media``: any that has media; ``any``: it may fail, too, and the result is told."""
    within: Seconds = 30.0
    """From the answer to media at both ends."""


class MediaStep(Expectation, tag_field="do", tag="media"):
    """Media must flow both ways in every call."""

    within: Seconds = 5.0


class SilenceStep(Expectation, tag_field="do", tag="silence"):
    """No media may flow any more."""

    within: Seconds = 5.0


class Plain(Struct, kw_only=True, forbid_unknown_fields=True):
    """A step that expects nothing."""


class PathStep(Expectation, tag_field="do", tag="path"):
    """Every call must get to this route, and stay there for a moment."""

    expect: Literal["direct", "relay"]
    within: Seconds = 5.0


class SoundStep(Expectation, tag_field="do", tag="sound"):
    """What both ends have heard of every call since the last step that changed something began."""

    pause: Seconds
    """The longest time without a new packet of sound, at either end."""
    lost: Annotated[int, Meta(ge=0)] | None = None
    """How many packets may be missing, in both directions together; left out: any number."""


class HangUpStep(Plain, tag_field="do", tag="hang_up"):
    """End every call."""


class WaitStep(Plain, tag_field="do", tag="wait"):
    """Let time pass."""

    seconds: Seconds


# --- sites ----------------------------------------------------------------------------------------


class SiteFault(Plain):
    """Something that is done to a site's uplink or router."""

    site: Name


class CutStep(SiteFault, tag_field="do", tag="cut"):
    """Let everything vanish on the uplink."""


class HealStep(SiteFault, tag_field="do", tag="heal"):
    """The opposite."""


class RebootStep(SiteFault, tag_field="do", tag="reboot_nat"):
    """The router forgets everything."""

    seconds: Seconds = 0.0
    """How long it is gone."""


class ExpireStep(SiteFault, tag_field="do", tag="expire_mappings"):
    """All mappings end, as if idle."""


class TimeoutStep(SiteFault, tag_field="do", tag="set_mapping_timeout"):
    """Idle mappings end after so many seconds from now on."""

    seconds: Annotated[int, Meta(ge=1, le=86400)]


class AddressStep(SiteFault, tag_field="do", tag="change_wan_address"):
    """The provider gives the router another address."""


class KindStep(SiteFault, tag_field="do", tag="set_nat"):
    """Another kind of NAT from now on."""

    kind: str


class LinkStep(SiteFault, tag_field="do", tag="link"):
    """Other conditions on the uplink, both ways."""

    link: str | dict[str, float]


class PartitionStep(Plain, tag_field="do", tag="partition"):
    """Let nothing pass between two groups of sites."""

    one: Names
    other: Names


class UniteStep(Plain, tag_field="do", tag="unite"):
    """End every partition."""


# --- hosts ----------------------------------------------------------------------------------------


class HostFault(Plain):
    """Something that is done to a host, or to the program on it that calls."""

    host: Name


class RoamStep(HostFault, tag_field="do", tag="roam"):
    """The host leaves its network for another one."""

    to: Name


class FlapStep(HostFault, tag_field="do", tag="flap"):
    """The host's interface goes down and up again."""

    seconds: Seconds = 0.5


class DownStep(HostFault, tag_field="do", tag="interface_down"):
    """The host's interface goes, with its addresses and routes."""


class UpStep(HostFault, tag_field="do", tag="interface_up"):
    """The opposite."""


class KillStep(HostFault, tag_field="do", tag="kill"):
    """SIGKILL for the program."""


class PauseStep(HostFault, tag_field="do", tag="pause"):
    """SIGSTOP for the program."""


class ResumeStep(HostFault, tag_field="do", tag="resume"):
    """SIGCONT for the program."""


class RestartStep(HostFault, tag_field="do", tag="restart"):
    """The program starts again, with the same identity; it is killed before if it runs."""


class ClockStep(HostFault, tag_field="do", tag="set_clock"):
    """The program's time of day is so many seconds fast from now on."""

    offset: Offset


# --- servers --------------------------------------------------------------------------------------


class RelayStep(Plain, tag_field="do", tag="relay"):
    """The relay dies, or is there again; its allocations are lost."""

    state: Literal["stop", "start", "restart"]


Step = (
    CallStep
    | MediaStep
    | SilenceStep
    | PathStep
    | SoundStep
    | HangUpStep
    | WaitStep
    | CutStep
    | HealStep
    | RebootStep
    | ExpireStep
    | TimeoutStep
    | AddressStep
    | KindStep
    | LinkStep
    | PartitionStep
    | UniteStep
    | RoamStep
    | FlapStep
    | DownStep
    | UpStep
    | KillStep
    | PauseStep
    | ResumeStep
    | RestartStep
    | ClockStep
    | RelayStep
)


def verb(step: Step) -> str:
    """What the file calls it."""
    return str(step.__struct_config__.tag)


def describe(step: Step) -> str:
    """A step in a few words."""
    match step:
        case CallStep():
            return f"{step.caller} calls {step.callee}"
        case MediaStep(within=within):
            return f"media flows within {within:g} s"
        case SilenceStep(within=within):
            return f"no media after {within:g} s"
        case PathStep(expect=route, within=within):
            return f"{route} within {within:g} s"
        case SoundStep(pause=pause, lost=missing):
            return f"no pause longer than {pause:g} s" + ("" if missing is None else f", {missing} lost")
        case WaitStep(seconds=seconds):
            return f"wait {seconds:g} s"
        case LinkStep(site=site, link=link):
            return f"link of {site}: {link}"
        case KindStep(site=site, kind=kind):
            return f"set_nat {site}: {kind}"
        case TimeoutStep(site=site, seconds=seconds):
            return f"set_mapping_timeout {site}: {seconds} s"
        case PartitionStep(one=one, other=other):
            return f"partition {', '.join(one)} from {', '.join(other)}"
        case RoamStep(host=host, to=to):
            return f"{host} roams to {to}"
        case FlapStep(host=host, seconds=seconds):
            return f"{host}'s interface is off for {seconds:g} s"
        case ClockStep(host=host, offset=offset):
            return f"set_clock {host}: {offset:+g} s"
        case RelayStep(state=state):
            return f"{state} the relay"
        case SiteFault(site=name) | HostFault(host=name):
            return f"{verb(step)} {name}"
        case _:
            return verb(step).replace("_", " ")
