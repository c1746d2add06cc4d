"""The table of commands.

Law 1: a command's module is loaded when the command is used, not to print a list or to run another one.
Law 2: the list says of a command what the first sentence of its own help says (a test holds them together).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "daemon": ("daemon:daemon_command", "Run the daemon (its options: `meshcall daemon --help`)."),
    "bootstrap-node": (
        "bootstrap_node:bootstrap_node",
        "Run a plain DHT router, for others to join through.",
    ),
    "init": ("identity:init", "Make your identity, and print its ID."),
    "id": ("identity:show_id", "Show your ID: give it to those who may call you."),
    "open": ("open:open_page", "Open the call page in your browser."),
    "status": ("status:status", "Show the daemon, the LAN, the DHT and the calls."),
    "peers": ("contacts:peers", "List contacts and the peers on this LAN."),
    "invite": ("invites:invite", "Make a link that makes you and its reader contacts."),
    "accept": ("invites:accept", "Accept an invite: you and its maker become contacts."),
    "call": ("call:call", "Call somebody."),
    "answer": ("call:answer", "Answer a call."),
    "decline": ("calls:decline", "Decline a call."),
    "hangup": ("calls:hangup", "Hang up a call, or cancel one that still rings."),
    "calls": ("calls:calls", "List the calls: those that live, and the last that ended."),
    "history": ("calls:history", "List past calls, newest first."),
    "chat": ("calls:chat", "Write to somebody in a call."),
    "ping": ("ping:ping", "Show which path leads to a peer, and how long it takes."),
    "netcheck": ("netcheck:netcheck", "Measure what the network lets this machine do."),
    "doctor": ("doctor:doctor", "Look for what keeps calls from working."),
    "relay": ("relay:relay", "Make credentials for the relay that this daemon lends."),
    "echo": ("echo:echo", "Answer contacts with a test picture and tone."),
    "logs": ("logs:logs", "Show the daemon's log."),
    "bugreport": ("bugreport:bugreport", "Write a file for whoever is to help you."),
    "version": ("status:version", "Print the version."),
    "contact": ("contacts:contact_commands", "Whom you know, by the names you give."),
    "room": ("room:room_commands", "Meetings: rooms on this LAN and beyond."),
    "dht": ("dht:dht_commands", "Look at the DHT."),
    "service": ("service:service_commands", "The daemon as a service of systemd."),
    "config": ("config:config_commands", "Settings, and where files are."),
}
"""Name on the command line -> (module of this package:function or Typer group in it, what it does)."""


def load_command(name: str) -> Any:
    """The command of that name, ready to run; KeyError if there is none."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    target = getattr(import_module(f"meshcall.cli.{module}"), attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(rich_markup_mode=None, add_completion=False)
        target.command(name)(function)
    return typer.main.get_command(target)


class _Commands(MutableMapping[str, Any]):
    """All commands by name; each is loaded when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load_command(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandGroup(TyperGroup):
    """The group of :data:`COMMANDS`: lists them without loading them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the table."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table's names and sentences."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])
