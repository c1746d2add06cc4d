"""UPnP on real sockets: a gateway on loopback that is as hostile as it can be, and one that is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from meshcall.aio.clock import SystemClock
from meshcall.aio.portmap import PortMapper, line, mapper, sockets
from meshcall.aio.portmap.upnp import Igd, IgdError
from meshcall.limits import PORTMAP_RELEASE, PORTMAP_UPNP_BODY_MAX, PORTMAP_UPNP_REQUESTS_MAX
from meshcall.portmap.mapping import Gateway, Service
from tests.unit.portmap.gateway import FakeGateway

GATEWAY = Gateway("lo", "127.0.0.1", "127.0.0.1")
UDP = Service("udp", 4242)
TYPE = "urn:schemas-upnp-org:service:WANIPConnection:1"
ARGUMENTS = {
    "AddPortMapping": [
        ("NewRemoteHost", "string"),
        ("NewExternalPort", "ui2"),
        ("NewProtocol", "string"),
        ("NewInternalPort", "ui2"),
        ("NewInternalClient", "string"),
        ("NewEnabled", "boolean"),
        ("NewPortMappingDescription", "string"),
        ("NewLeaseDuration", "ui4"),
    ],
    "DeletePortMapping": [("NewRemoteHost", "string"), ("NewExternalPort", "ui2"), ("NewProtocol", "string")],
}
SERVICE = (
    f"<service><serviceType>{TYPE}</serviceType><serviceId>x</serviceId>"
    "<SCPDURL>SCPD</SCPDURL><controlURL>CONTROL</controlURL><eventSubURL>/e</eventSubURL></service>"
)


def description(*services: str, scpd: str = "/scpd", control: str = "/control") -> str:
    """A gateway's description."""
    listed = "".join(services or (SERVICE,)).replace("SCPD<", f"{scpd}<").replace(">CONTROL<", f">{control}<")
    return (
        '<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>'
        "<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>"
        f"<serviceList>{listed}</serviceList></device></root>"
    )


def scpd() -> str:
    """What its service can do."""
    names = {name: kind for arguments in ARGUMENTS.values() for name, kind in arguments}
    names["NewExternalIPAddress"] = "string"
    actions = "".join(
        f"<action><name>{action}</name><argumentList>"
        + "".join(
            f"<argument><name>{name}</name><direction>in</direction>"
            f"<relatedStateVariable>{name}</relatedStateVariable></argument>"
            for name, _ in arguments
        )
        + "</argumentList></action>"
        for action, arguments in ARGUMENTS.items()
    )
    actions += (
        "<action><name>GetExternalIPAddress</name><argumentList><argument><name>NewExternalIPAddress</name>"
        "<direction>out</direction><relatedStateVariable>NewExternalIPAddress</relatedStateVariable>"
        "</argument></argumentList></action>"
    )
    variables = "".join(
        f'<stateVariable sendEvents="no"><name>{name}</name><dataType>{kind}</dataType></stateVariable>'
        for name, kind in names.items()
    )
    return (
        '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0">'
        f"<actionList>{actions}</actionList><serviceStateTable>{variables}</serviceStateTable></scpd>"
    )


class FakeIgd:
    """An HTTP server that answers as a gateway, but for what ``replaced`` does."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.taken: set[int] = set()
        self.external = "5.9.1.2"
        self.permanent_only = False
        self.leases: dict[int, int] = {}
        self.replaced: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.port = 0

    async def __aenter__(self) -> FakeIgd:
        server = web.Server(self._answer)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def location(self) -> str:
        """Of its description."""
        return f"http://127.0.0.1:{self.port}/d"

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request.path)
        replaced = self.replaced.get(request.path)
        if replaced is not None:
            return await replaced(request)  # type: ignore[arg-type]
        if request.path == "/d":
            return web.Response(text=description(), content_type="text/xml")
        if request.path == "/scpd":
            return web.Response(text=scpd(), content_type="text/xml")
        return self._control(await request.text())

    def _control(self, body: str) -> web.Response:
        if "GetExternalIPAddress" in body:
            return self._done(
                "GetExternalIPAddress", f"<NewExternalIPAddress>{self.external}</NewExternalIPAddress>"
            )
        port = int(body.split("<NewExternalPort>")[1].split("<")[0])
        if "DeletePortMapping" in body:
            return self._done("DeletePortMapping") if self.leases.pop(port, None) is not None else fault(714)
        lease = int(body.split("<NewLeaseDuration>")[1].split("<")[0])
        if port in self.taken:
            return fault(718)
        if self.permanent_only and lease:
            return fault(725)
        self.leases[port] = lease
        return self._done("AddPortMapping")

    def _done(self, action: str, out: str = "") -> web.Response:
        text = (
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<u:{action}Response xmlns:u="{TYPE}">{out}</u:{action}Response></s:Body></s:Envelope>'
        )
        return web.Response(text=text, content_type="text/xml")


def fault(code: int) -> web.Response:
    """A refusal by SOAP."""
    text = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>'
        "<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
        f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{code}</errorCode>'
        "<errorDescription>no</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>"
    )
    return web.Response(text=text, status=500, content_type="text/xml")


async def opened(igd: FakeIgd) -> Igd:
    """A client of it."""
    return await Igd.open(GATEWAY, igd.location, os.urandom)


async def test_it_maps_and_removes() -> None:
    """With the life that was asked for; removing what is gone already is no error."""
    async with FakeIgd() as fake:
        igd = await opened(fake)
        assert await igd.map(UDP, 4242, 3600) == (("5.9.1.2", 4242), 3600)
        assert fake.leases == {4242: 3600}
        await igd.unmap(UDP, 4242)
        await igd.unmap(UDP, 4242)
        assert fake.leases == {}
        await igd.close()


async def test_another_port_and_a_mapping_for_ever() -> None:
    """Where the port is another's, another one is asked for; where nothing ends, that is told."""
    async with FakeIgd() as fake:
        igd = await opened(fake)
        fake.taken, fake.permanent_only = {4242}, True
        (host, port), life = await igd.map(UDP, 4242, 3600)
        assert (host, life) == ("5.9.1.2", 0)
        assert port != 4242
        assert port >= 1024
        assert fake.leases == {port: 0}
        fake.taken = set(range(65536))
        with pytest.raises(IgdError, match="taken") as raised:
            await igd.map(UDP, 4242, 3600)
        assert raised.value.refused
        await igd.close()


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]><root>&j;</root>"
)
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><root>&x;</root>'


def says(text: str | bytes, **fields: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Answers with that."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = text if isinstance(text, bytes) else text.encode()
        return web.Response(body=body, content_type="text/xml", **fields)

    return answer


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff\xfe junk",
        b"<root>",
        BOMB,
        OUTSIDE,
        b"<a>" * 20_000,
        description().replace("deviceType>", "other>"),
        description(SERVICE * 200),
        description(scpd="http://127.0.0.1:1/x"),
        description(scpd="http://169.254.169.254/latest/meta-data/"),
        description(control="http://169.254.169.254/x"),
        description(control="http://[broken"),
        description(scpd="file:///etc/passwd"),
        description().replace("</device>", "<deviceList>" * 500 + "</deviceList>" * 500 + "</device>"),
        "<root xmlns='urn:schemas-upnp-org:device-1-0'>"
        + "<device><deviceList>" * 1100
        + "</deviceList></device>" * 1100
        + "</root>",
    ],
    ids=lambda value: str(value)[:20],
)
async def test_hostile_descriptions_end_in_one_error(document: str | bytes) -> None:
    """Bombs, entities, other hosts, endless lists, deep nesting: one kind of error, soon, by few requests."""
    async with FakeIgd() as fake:
        fake.replaced["/d"] = says(document)
        fake.replaced["/scpd"] = says(b"junk")
        begun = time.monotonic()
        with pytest.raises(IgdError):
            await opened(fake)
        assert time.monotonic() < begun + 5
        assert len(fake.requests) <= PORTMAP_UPNP_REQUESTS_MAX
        assert set(fake.requests) <= {"/d", "/scpd"}


async def test_it_follows_no_redirection() -> None:
    """Neither to another host nor to another page."""
    async with FakeIgd() as fake:
        for target in ("http://169.254.169.254/latest/", f"http://127.0.0.1:{fake.port}/other"):
            fake.replaced["/d"] = says(b"", status=302, headers={"Location": target})
            with pytest.raises(IgdError):
                await opened(fake)
        assert set(fake.requests) == {"/d"}


async def test_endless_and_compressed_answers_are_cut_off() -> None:
    """An answer without end is left at its cap; what is compressed is not unpacked."""
    import gzip

    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b" " * 65_536)
            sent += 65_536
        return response

    async with FakeIgd() as fake:
        fake.replaced["/d"] = endless
        with pytest.raises(IgdError):
            await opened(fake)
        fake.replaced["/d"] = says(gzip.compress(b"<a/>" * 10_000_000), headers={"Content-Encoding": "gzip"})
        begun = time.monotonic()
        with pytest.raises(IgdError):
            await opened(fake)
        assert time.monotonic() < begun + 3
    assert sent < 200 * PORTMAP_UPNP_BODY_MAX


async def test_a_slow_gateway_has_no_more_time_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An octet now and then keeps nobody waiting beyond the patience."""

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    monkeypatch.setattr("meshcall.aio.portmap.upnp.PORTMAP_UPNP_PATIENCE", 0.3)
    async with FakeIgd() as fake:
        fake.replaced["/d"] = slow
        begun = time.monotonic()
        with pytest.raises(IgdError, match="no answer"):
            await opened(fake)
        assert time.monotonic() < begun + 2


@pytest.mark.parametrize("told", ["", "junk", "::1", "5.9.1.2.3", "<a>5.9.1.2</a>", "5.9.1.2; reboot"])
async def test_an_external_address_is_one(told: str) -> None:
    """Whatever else it says is an error."""
    async with FakeIgd() as fake:
        igd = await opened(fake)
        fake.external = told
        with pytest.raises(IgdError):
            await igd.map(UDP, 4242, 60)
        await igd.close()


async def test_answers_to_orders_that_make_no_sense() -> None:
    """Junk, other codes, pages: an error; a refusal is told from nonsense."""
    async with FakeIgd() as fake:
        igd = await opened(fake)
        for answer, refused in (
            (says(b"junk"), False),
            (says(BOMB, status=500), False),
            (says(b"", status=404), False),
        ):
            fake.replaced["/control"] = answer
            with pytest.raises(IgdError) as raised:
                await igd.map(UDP, 4242, 60)
            assert raised.value.refused is refused

        async def refuse(request: web.Request) -> web.StreamResponse:
            return fault(606)

        fake.replaced["/control"] = refuse
        with pytest.raises(IgdError, match="not allowed") as raised:
            await igd.map(UDP, 4242, 60)
        assert raised.value.refused
        await igd.close()


class Router(asyncio.DatagramProtocol):
    """A gateway of NAT-PMP and PCP on loopback, for one :class:`PortMapper`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *protocols: str) -> None:
        self.fake = FakeGateway(*protocols)
        self.fake.client = "127.0.0.1"
        self.silent = False
        self._patch = monkeypatch
        self._transport: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See asyncio."""
        if not self.silent and self._transport is not None:
            for answer in self.fake.answer(data, time.monotonic()):
                self._transport.sendto(answer, addr)

    async def __aenter__(self) -> Router:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        port = self._transport.get_extra_info("sockname")[1]
        self._patch.setenv(mapper.OFF_VARIABLE, "")
        self._patch.setattr(sockets, "CONTROL_PORT", port)
        self._patch.setattr(mapper, "find_gateways", lambda names: [GATEWAY])
        self._patch.setattr(mapper, "open_announcements", no_socket)
        self._patch.setattr(line, "open_search", no_socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.close()


def no_socket(*_: object) -> None:
    """Nothing of multicast."""
    raise OSError


class Running:
    """A PortMapper at work, with what it told."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self._news = asyncio.Event()
        self.ports = PortMapper(
            [UDP],
            clock=SystemClock(),
            random=os.urandom,
            secret=b"s" * 16,
            on_change=self._changed,
        )

    def _changed(self) -> None:
        self.states.append(self.ports.view().state)
        self._news.set()

    async def __aenter__(self) -> Running:
        self.work = asyncio.create_task(self.ports.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ports.close()
        self.work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.work

    async def until(self, state: str) -> None:
        """Wait for it."""
        async with asyncio.timeout(10):
            while self.ports.view().state != state:
                self._news.clear()
                await self._news.wait()


@pytest.mark.parametrize("protocol", ["pcp", "nat-pmp"])
async def test_mapped_told_and_given_back(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    """Over real sockets: the address is there, whoever listens is told, and closing removes it at once."""
    async with Router(monkeypatch, protocol) as router:
        async with Running() as running:
            await running.until("mapped")
            assert running.ports.external(UDP) == [("5.9.1.2", 4242)]
            view = running.ports.view()
            assert (view.protocol, view.gateway, view.lifetime) == (protocol, "127.0.0.1", 3600)
            assert router.fake.table == {("udp", 4242): 4242}
            running.ports.network_changed()
            await asyncio.sleep(0.1)
            assert running.ports.view().state == "mapped"
            closing = time.monotonic()
        assert time.monotonic() < closing + 0.4
        assert router.fake.table == {}
        assert running.states == ["asking", "mapped", "released"]
        assert running.ports.external(UDP) == []


async def test_closing_does_not_wait_for_a_dead_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second for one that has a mapping of ours and answers no more; no time for one that has none."""
    async with Router(monkeypatch, "pcp") as router:
        async with Running() as running:
            await running.until("mapped")
            router.silent = True
            closing = time.monotonic()
        assert time.monotonic() < closing + PORTMAP_RELEASE + 0.5
        async with Running() as running:
            await running.until("silent")
            closing = time.monotonic()
        assert time.monotonic() < closing + 0.3


async def test_switched_off_it_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its owner, or by the environment: no socket, no question, and closing is instant."""

    def never(*_: object) -> None:
        raise AssertionError("it looked for gateways")

    monkeypatch.setattr(mapper, "find_gateways", never)
    monkeypatch.setattr(mapper, "open_announcements", never)
    for variable, enabled in (("1", True), ("", False)):
        monkeypatch.setenv(mapper.OFF_VARIABLE, variable)
        ports = PortMapper([UDP], clock=SystemClock(), random=os.urandom, secret=b"s" * 16, enabled=enabled)
        work = asyncio.create_task(ports.run())
        await asyncio.sleep(0.01)
        assert ports.view().state == "off"
        assert ports.external(UDP) == []
        await ports.close()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
