"""Set-up inside network namespaces, carried out by the lab's agent without a process for each namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Step:
    """Set-up inside one network namespace (None: the sandbox's own)."""

    namespace: str | None
    argv: tuple[str, ...] = ()
    input: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """By path below /proc/sys; written before the command runs."""


def ip_step(
    namespace: str | None,
    lines: Sequence[str],
    sysctls: Mapping[str, str] | None = None,
    *,
    family: Literal["", "-4", "-6"] = "",
) -> Step:
    """Commands of the ``ip`` tool, in one batch. Routes know their family; rules have to be told."""
    argv = ("ip", *([family] if family else []), "-batch", "-")
    return Step(namespace, argv, "\n".join(lines) + "\n", sysctls or {})


def nft_step(namespace: str, rules: str) -> Step:
    """A rule set, loaded at once or not at all."""
    return Step(namespace, ("nft", "-f", "-"), rules)
