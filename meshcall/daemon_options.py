"""The daemon's flags, and the :class:`Config` they make. Cheap to import, so that --help is instant."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path
from typing import NoReturn

from meshcall.address import parse_host_port
from meshcall.config import Config, check_name
from meshcall.errors import InvalidConfig, UsageError
from meshcall.media.plan import parse_ice_server
from meshcall.media_paths import absolute_source, check_record_dir, check_source
from meshcall.paths import choose_home
from meshcall.turn.coturn_place import parse_coturn
from meshcall.turn.gateways import is_gateway, parse_gateway


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` lists the options")


def make_parser() -> argparse.ArgumentParser:
    """The daemon's flags."""
    parser = _Parser(
        prog="meshcall daemon",
        description="Run the daemon in the foreground. Logs go to stderr; SIGTERM and Ctrl-C stop it.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--home", metavar="DIR", help="folder of keys, state and sockets (default: MESHCALL_HOME, or yours)")
    add("--port", type=int, default=0, metavar="N", help="UDP port; 0: the last one, or any free one")
    add("--name", metavar="TEXT", help="what others are shown as your name, unverified (default: as set)")
    add("--lan-only", action="store_true", help="find peers on this LAN alone")
    add("--no-mdns", action="store_true", help="neither announce nor browse on the LAN")
    add("--visible", action="store_true", help="let people on the LAN who don't know your ID see it")
    add(
        "--bootstrap",
        action="append",
        default=[],
        metavar="[tls:]HOST:PORT",
        help="a DHT node to join through, by UDP or, where that is blocked, by TLS or TCP (tls:HOST:PORT,"
        " tcp:HOST:PORT); can be repeated",
    )
    add("--no-mainline", action="store_true", help="never use the Mainline DHT to find a way in")
    add(
        "--mainline-bootstrap",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a Mainline node to start from; can be repeated (default: libtorrent's own)",
    )
    add(
        "--no-port-mapping",
        action="store_true",
        help="never ask the router to let others in to our port (PCP, NAT-PMP, UPnP)",
    )
    add(
        "--ice-server",
        action="append",
        default=[],
        metavar="URI[,USER,SECRET]",
        help="a STUN or TURN server for calls (none by default); can be repeated",
    )
    add(
        "--interface",
        action="append",
        default=[],
        metavar="NAME",
        help="use this network interface only; can be repeated",
    )
    add(
        "--auto-answer",
        choices=("off", "contacts", "anyone"),
        help="which calls are answered without asking (default: as set, or off)",
    )
    add(
        "--page-port",
        type=int,
        default=6374,
        metavar="N",
        help="port of the call page on this machine (default: 6374, or one of the next nine)",
    )
    add("--no-page", action="store_true", help="serve no call page")
    add("--no-notifications", action="store_true", help="show no calls on the desktop")
    add("--no-strangers", action="store_true", help="let nobody ring who is not a contact")
    add(
        "--contacts-only",
        action="store_true",
        help="be found by contacts and invited people alone: who knows no more than your ID sees nothing",
    )
    add("--no-pings", action="store_true", help="answer no `meshcall ping`, not even of contacts")
    add(
        "--source",
        default="testsrc",
        metavar="S",
        help="what calls send unless they say otherwise: FILE, testsrc (default), camera[:N], screen, mic, "
        "camera+mic, none",
    )
    add(
        "--record",
        metavar="DIR",
        help="record auto-answered calls into this folder, which is made if need be",
    )
    add(
        "--media-workers",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="decode and encode in a process for each call, not in the daemon's own",
    )
    lends = parser.add_mutually_exclusive_group()
    lends.add_argument(
        "--relay",
        action="store_true",
        default=None,
        help="lend a relay to others (default: while strangers reach this machine at an address of its own)",
    )
    lends.add_argument("--no-relay", action="store_false", dest="relay", help="lend none")
    add(
        "--relay-port",
        type=int,
        metavar="N",
        help="its port for UDP, TCP and TLS (default: the daemon's own, and 443; 0: any free one)",
    )
    add(
        "--relay-address",
        action="append",
        default=[],
        metavar="IP",
        help="where others reach it, if a NAT is before it; one for IPv4, one for IPv6",
    )
    add("--relay-certificate", metavar="FILE", help="PEM file for TLS (default: one made at each start)")
    add(
        "--coturn",
        default="",
        metavar="[IP:]PORT[,TLS-PORT]",
        help="lend the coturn there in the place of a relay of our own (`meshcall relay --coturn`)",
    )
    add(
        "--coturn-secret",
        metavar="FILE",
        help="its static-auth-secret (default: the one that `meshcall relay --coturn` shows)",
    )
    add("--quiet", "-q", action="store_true", help="log warnings and errors only")
    add("--verbose", "-v", action="count", default=0, help="log more")
    return parser


def config_from(options: argparse.Namespace, directory: Path) -> Config:
    """The configuration that parsed flags mean; relative paths are relative to ``directory``.

    Raises :class:`InvalidConfig`, :class:`UsageError` or a file's error.
    """
    if not 0 <= options.port <= 65535:
        raise InvalidConfig(f"--port: {options.port} is not a port (0 to 65535)")
    if options.relay_port is not None and not 0 <= options.relay_port <= 65535:
        raise InvalidConfig(f"--relay-port: {options.relay_port} is not a port (0 to 65535)")
    if not 1024 <= options.page_port <= 65535:
        raise InvalidConfig(f"--page-port: {options.page_port} is not a port (1024 to 65535)")
    _check_relay_addresses(options.relay_address)
    if options.coturn:
        parse_coturn(options.coturn)
    if options.coturn and options.relay is False:
        raise InvalidConfig("--no-relay leaves --coturn without meaning", hint="drop one of the two")
    if options.coturn_secret and not options.coturn:
        raise InvalidConfig("--coturn-secret has no meaning without --coturn", hint="say where the coturn is")
    try:
        check_name(options.name or "")
    except InvalidConfig as error:
        raise InvalidConfig(f"--{error}") from None
    if options.lan_only and options.no_mdns:
        raise InvalidConfig(
            "--lan-only and --no-mdns together leave no way to find anybody", hint="drop one of the two"
        )
    if options.lan_only and options.bootstrap:
        raise InvalidConfig(
            "--lan-only uses no DHT, so --bootstrap has no meaning", hint="drop one of the two"
        )
    for option in ("source", "record"):
        if getattr(options, option) == "":
            raise InvalidConfig(f"--{option}: nothing is named")
    if options.no_mainline and options.mainline_bootstrap:
        raise InvalidConfig(
            "--no-mainline leaves --mainline-bootstrap without meaning", hint="drop one of the two"
        )
    for text in options.bootstrap:
        _ = parse_gateway(text) if is_gateway(text) else parse_host_port(text)
    for text in options.mainline_bootstrap:
        parse_host_port(text)
    for text in options.ice_server:
        parse_ice_server(text)
    source = absolute_source(options.source, directory)
    check_source(source)
    record_dir = None if options.record is None else directory / options.record
    if record_dir is not None:
        check_record_dir(record_dir)
    return Config(
        home=choose_home(options.home),
        port=options.port,
        name=options.name or "",
        fixed=frozenset(name for name in ("name", "auto_answer") if getattr(options, name) is not None),
        lan_only=options.lan_only,
        mdns=not options.no_mdns,
        visible=options.visible,
        bootstrap=tuple(options.bootstrap),
        ice_servers=tuple(options.ice_server),
        mainline=not options.no_mainline,
        mainline_bootstrap=tuple(options.mainline_bootstrap),
        port_mapping=not options.no_port_mapping,
        interfaces=tuple(options.interface),
        auto_answer=options.auto_answer or "off",
        source=source,
        record_dir=record_dir,
        media_workers=options.media_workers and sys.platform == "linux",
        accept_strangers=not (options.no_strangers or options.contacts_only),
        answer_pings=not options.no_pings,
        notifications=not options.no_notifications,
        contacts_only=options.contacts_only,
        relay=options.relay,
        page_port=None if options.no_page else options.page_port,
        relay_port=options.relay_port,
        relay_addresses=tuple(options.relay_address),
        relay_certificate=(
            None if options.relay_certificate is None else directory / options.relay_certificate
        ),
        coturn=options.coturn,
        coturn_secret=None if options.coturn_secret is None else directory / options.coturn_secret,
    )


def _check_relay_addresses(texts: list[str]) -> None:
    try:
        versions = [ipaddress.ip_address(text).version for text in texts]
    except ValueError as error:
        raise InvalidConfig(f"--relay-address: {error}") from error
    if len(set(versions)) < len(versions):
        raise InvalidConfig("--relay-address: two of one family", hint="give one for IPv4, one for IPv6")
