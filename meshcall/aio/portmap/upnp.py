"""UPnP IGD by HTTP: async_upnp_client, kept on a short lead.

Loading it takes memory and time, so nobody imports this module before a gateway has answered a search.

Law 1: nothing is fetched but from the gateway's own address: no redirection is followed, no name resolved, no
proxy asked.
Law 2: size, time and number of requests are bounded; documents are read by defusedxml, which takes neither
entities nor DTDs, and bodies are never decompressed.
Law 3: whatever a gateway answers, the outcome is a result or an :class:`IgdError`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from ipaddress import IPv4Address
from typing import Any, Final, Self, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from async_upnp_client.client import UpnpAction, UpnpDevice, UpnpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpRequest, HttpResponse
from async_upnp_client.exceptions import UpnpActionError

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.identity.keys import Random
from meshcall.limits import (
    PORTMAP_UPNP_BODY_MAX,
    PORTMAP_UPNP_PATIENCE,
    PORTMAP_UPNP_PORTS,
    PORTMAP_UPNP_REQUESTS_MAX,
)
from meshcall.portmap.mapping import Gateway, Service
from meshcall.portmap.ssdp import check_location_untrusted

_T = TypeVar("_T")

# It warns of what hostile documents hold, a line for each
logging.getLogger("async_upnp_client").setLevel(logging.CRITICAL)

_SERVICES: Final = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
_DESCRIPTION: Final = "meshcall"
_NO_SUCH_ENTRY: Final = 714
_CONFLICT: Final = 718
_ONLY_PERMANENT: Final = 725
_FIRST_PORT: Final = 1024
_WORDS: Final = {
    501: "it failed",
    606: "not allowed",
    718: "the port is taken",
    724: "only the same port inside and outside",
    728: "no room",
}


class IgdError(Exception):
    """The gateway did not do it; the text says why in a few words."""

    def __init__(self, words: str, *, refused: bool) -> None:
        """``refused``: it said so; else it did not answer, or nothing that makes sense."""
        super().__init__(words)
        self.refused = refused


class _Requester(UpnpRequester):
    """The library's way to the network."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._left = PORTMAP_UPNP_REQUESTS_MAX
        self._session = ClientSession(
            connector=TCPConnector(local_addr=(gateway.local, 0), limit=2, force_close=True),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=PORTMAP_UPNP_PATIENCE),
            auto_decompress=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
        )

    def refill(self) -> None:
        """Something new is to be said."""
        self._left = PORTMAP_UPNP_REQUESTS_MAX

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        """One request; raises for everything that is not as it should be."""
        url = check_location_untrusted(http_request.url, self._gateway.host)
        self._left -= 1
        if self._left < 0:
            raise Rejected("requests")
        headers = dict(http_request.headers or {})
        async with self._session.request(
            http_request.method, url, headers=headers, data=http_request.body, allow_redirects=False
        ) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > PORTMAP_UPNP_BODY_MAX:
                    raise Rejected("size")
            text = body.decode("utf-8", errors="replace")
            return HttpResponse(response.status, dict(response.headers), text)

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()


class Igd:
    """One gateway's service that maps ports. Use :meth:`open`, and close it."""

    def __init__(self, gateway: Gateway, location: str, random: Random) -> None:
        self.location = location
        self._gateway = gateway
        self._requester = _Requester(gateway)
        self._random = random
        self._actions: dict[str, UpnpAction] = {}

    @classmethod
    async def open(cls, gateway: Gateway, location: str, random: Random) -> Self:
        """Read the gateway's description at ``location``. Raises :class:`IgdError`."""
        igd = cls(gateway, location, random)
        try:
            await igd._told(igd._describe())
        except BaseException:
            await igd.close()
            raise
        return igd

    async def close(self) -> None:
        """Close its connections. Idempotent."""
        await self._requester.close()

    async def map(self, service: Service, port: int, lifetime: int) -> tuple[Address, int]:
        """Map ``service``, at the external ``port`` if it is free: (external address, seconds; 0: for ever).

        Raises :class:`IgdError`.
        """
        return await self._told(self._map(service, port, lifetime))

    async def unmap(self, service: Service, port: int) -> None:
        """Remove the mapping of the external ``port``. Raises :class:`IgdError`."""
        await self._told(self._unmap(service, port))

    async def _describe(self) -> None:
        factory = UpnpFactory(self._requester, non_strict=True)
        device: UpnpDevice = await factory.async_create_device(self.location)
        for wanted in _SERVICES:
            for one in device.all_devices:
                service = one.services.get(wanted)
                if service is not None and "AddPortMapping" in service.actions:
                    self._actions = dict(service.actions)
                    return
        raise IgdError("no mappings", refused=True)

    async def _map(self, service: Service, port: int, lifetime: int) -> tuple[Address, int]:
        for _ in range(PORTMAP_UPNP_PORTS):
            try:
                granted = await self._add(service, port, lifetime)
                break
            except UpnpActionError as error:
                if error.error_code != _CONFLICT:
                    raise
                number = int.from_bytes(self._random(2), "big")
                port = _FIRST_PORT + number % (65536 - _FIRST_PORT)
        else:
            raise IgdError(_WORDS[_CONFLICT], refused=True)
        told = await self._call("GetExternalIPAddress")
        return (_address(told.get("NewExternalIPAddress")), port), granted

    async def _add(self, service: Service, port: int, lifetime: int) -> int:
        """The life that was granted: some gateways know no other than for ever."""
        wanted = {
            "NewRemoteHost": "",
            "NewExternalPort": port,
            "NewProtocol": service.transport.upper(),
            "NewInternalPort": service.port,
            "NewInternalClient": self._gateway.local,
            "NewEnabled": True,
            "NewPortMappingDescription": _DESCRIPTION,
        }
        try:
            await self._call("AddPortMapping", **wanted, NewLeaseDuration=lifetime)
        except UpnpActionError as error:
            if error.error_code != _ONLY_PERMANENT:
                raise
            await self._call("AddPortMapping", **wanted, NewLeaseDuration=0)
            return 0
        return lifetime

    async def _unmap(self, service: Service, port: int) -> None:
        try:
            await self._call(
                "DeletePortMapping",
                NewRemoteHost="",
                NewExternalPort=port,
                NewProtocol=service.transport.upper(),
            )
        except UpnpActionError as error:
            if error.error_code != _NO_SUCH_ENTRY:
                raise

    async def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        action = self._actions.get(name)
        if action is None:
            raise IgdError("no mappings", refused=True)
        return dict(await action.async_call(**arguments))

    async def _told(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What ``work`` returns; everything that may go wrong is an :class:`IgdError`."""
        self._requester.refill()
        try:
            async with asyncio.timeout(PORTMAP_UPNP_PATIENCE):
                return await work
        except IgdError:
            raise
        except UpnpActionError as error:
            code = error.error_code or 0
            raise IgdError(_WORDS.get(code, f"error {code}"), refused=True) from error
        except (TimeoutError, OSError, ClientError) as error:
            raise IgdError("no answer by HTTP", refused=False) from error
        except Exception as error:  # a library reads what a hostile document holds: it may raise anything
            raise IgdError("it answers nonsense", refused=False) from error


def _address(text: object) -> str:
    """An IPv4 address in its usual form; raises ValueError."""
    return str(IPv4Address(str(text).strip()))
