"""A media endpoint whose peer connection is a browser's, with the browser played."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from meshcall import limits
from meshcall.aio.clock import SystemClock
from meshcall.aio.page.desk import PageDesk
from meshcall.aio.page.endpoint import PageEndpoint
from meshcall.call.negotiation import Negotiate, decode_negotiate_untrusted, encode_negotiate
from meshcall.errors import MeshcallError, PageGone, Rejected, SourceUnusable, TooManyListeners
from meshcall.ice.notes import RoundNote
from meshcall.media import endpoint as m
from meshcall.media import page as p
from meshcall.media.plan import MediaPlan
from meshcall.signaling.description import Section, decode_description_untrusted
from meshcall.signaling.sdp import from_sdp, to_sdp

VECTORS = Path(__file__).parents[1] / "vectors" / "description.json"


def sdp(fingerprint: bytes, kind: Literal["offer", "answer"] = "offer") -> str:
    """What a browser writes, with this certificate."""
    vectors = {one["name"]: one for one in json.loads(VECTORS.read_text())["vectors"]}
    lines = vectors["chromium-offer"]["sdp"]
    described = from_sdp("\r\n".join(lines) + "\r\n")
    setup = "actpass" if kind == "offer" else "active"
    return to_sdp(replace(described, fingerprint=fingerprint, setup=setup), kind)


def b64(octets: bytes) -> str:
    """As JSON carries octets."""
    return base64.b64encode(octets).decode()


class Browser:
    """The page's side."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        numbers = itertools.count(1)
        self.desk = PageDesk(
            clock=SystemClock(),
            random=lambda size: next(numbers).to_bytes(size, "big"),
            counters=self.counters,
            servers=lambda: [p.IceServerView(urls=["stun:192.0.2.1:3478"])],
        )
        self.told: asyncio.Queue[p.ToPage] = asyncio.Queue()
        self.page = self.desk.open(self.told.put_nowait)

    def endpoint(self, **changes: Any) -> PageEndpoint:
        """One on this page."""
        return self.desk.make(MediaPlan(page=self.page, peer="bob", allow_loopback=True, **changes))

    def say(self, told: p.ToPage, name: str, **words: Any) -> None:
        """A message about the endpoint of ``told``."""
        self.desk.receive(self.page, json.dumps({"told": name, "media": told.media, **words}))


@pytest.fixture
async def browser() -> Browser:
    """A page that is open."""
    return Browser()


async def offered(browser: Browser, **changes: Any) -> tuple[PageEndpoint, p.ToPage, bytes]:
    """An endpoint that has made its offer."""
    endpoint = browser.endpoint(**changes)
    offering = asyncio.create_task(endpoint.offer())
    opening = await browser.told.get()
    assert isinstance(opening, p.Open)
    browser.say(opening, "described", kind="offer", sdp=sdp(b"\x01" * 32))
    return endpoint, opening, await offering


async def connected(browser: Browser) -> tuple[PageEndpoint, p.ToPage]:
    """One whose control channel is open, both certificates told."""
    endpoint, opening, offer = await offered(browser)
    assert decode_description_untrusted(offer).fingerprint == b"\x01" * 32
    answer = from_sdp(sdp(b"\x02" * 32, "answer")).encode()
    await endpoint.accept(answer)
    remote = await browser.told.get()
    assert isinstance(remote, p.Remote)
    browser.say(opening, "secured", local=b64(b"\x01" * 32), remote=b64(b"\x02" * 32))
    browser.say(opening, "control-open")
    events = endpoint.events()
    assert await anext(events) == m.Secured(b"\x01" * 32, b"\x02" * 32)
    assert await anext(events) == m.ControlOpen()
    return endpoint, opening


def say_path(browser: Browser, opening: p.ToPage) -> None:
    """The browser has found one."""
    browser.say(
        opening,
        "path",
        local={"kind": "host", "address": "", "port": 0},
        remote={"kind": "prflx", "address": "192.168.1.2", "port": 9},
    )


async def test_a_call_from_offer_to_gate(browser: Browser) -> None:
    """The page is asked to open with our servers; control messages pass both ways; the gate is told."""
    endpoint, opening = await connected(browser)
    endpoint.send_control(b"hello")
    said = await browser.told.get()
    assert isinstance(said, p.SendControl)
    assert said.data == b"hello"
    browser.say(opening, "control", data=b64(b"back"))
    assert await anext(endpoint.events()) == m.ControlMessage(b"back")
    await endpoint.open_gate()
    assert isinstance(await browser.told.get(), p.Gate)
    say_path(browser, opening)
    found = await anext(endpoint.events())
    assert isinstance(found, m.IceConnected)
    assert found.path == "lan"
    await endpoint.close()
    assert isinstance(await browser.told.get(), p.Close)
    browser.say(opening, "control", data=b64(b"late"))
    assert browser.counters["page-foreign"] == 1


async def test_a_path_that_stays_away_is_given_up(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that comes back in time is not."""
    endpoint, opening = await connected(browser)
    monkeypatch.setattr(limits, "CONSENT_LOST", 30.0)
    browser.say(opening, "path-gone")
    say_path(browser, opening)
    monkeypatch.setattr(limits, "CONSENT_LOST", 0.0)
    events = endpoint.events()
    assert await anext(events) == m.PathBroken()
    assert isinstance(await anext(events), m.IceConnected)
    browser.say(opening, "path-gone")
    say_path(browser, opening)
    assert await anext(events) == m.PathBroken()
    assert isinstance(await anext(events), m.IceConnected)
    browser.say(opening, "path-gone")
    assert await anext(events) == m.PathBroken()
    assert await anext(events) == m.TransportLost("no-response")


async def test_another_certificate_ends_it(browser: Browser) -> None:
    """What DTLS used must be what was signalled, at both ends."""
    endpoint, opening, _ = await offered(browser)
    await endpoint.accept(from_sdp(sdp(b"\x02" * 32, "answer")).encode())
    browser.say(opening, "secured", local=b64(b"\x01" * 32), remote=b64(b"\x03" * 32))
    assert await anext(endpoint.events()) == m.Failed("fingerprint")


async def test_a_page_that_goes_ends_its_endpoints(browser: Browser) -> None:
    """Whoever waits is told; a new endpoint for it can't be made."""
    endpoint, _ = await connected(browser)
    waiting = browser.endpoint()
    offering = asyncio.create_task(waiting.offer())
    await asyncio.sleep(0)
    browser.desk.close(browser.page)
    failed = await anext(endpoint.events())
    assert isinstance(failed, m.Failed)
    assert failed.reason == "page-gone"
    with pytest.raises(PageGone):
        await offering
    with pytest.raises(PageGone):
        browser.endpoint()


async def test_a_silent_page_costs_a_bounded_time(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and the endpoint is closed."""
    monkeypatch.setattr(limits, "PAGE_DESCRIBE", 0.01)
    endpoint = browser.endpoint()
    with pytest.raises(PageGone):
        await endpoint.offer()
    with pytest.raises(Rejected):
        await endpoint.offer()


async def test_a_machine_without_camera_says_so(browser: Browser) -> None:
    """As a source that can't be used."""
    endpoint = browser.endpoint()
    offering = asyncio.create_task(endpoint.offer())
    opening = await browser.told.get()
    browser.say(opening, "ended", reason="no-device", detail="there is none")
    with pytest.raises(SourceUnusable, match="there is none"):
        await offering


async def test_nonsense_for_a_description(browser: Browser) -> None:
    """Our own page's SDP that can't be read is an error of ours, not a crash."""
    endpoint = browser.endpoint()
    offering = asyncio.create_task(endpoint.offer())
    browser.say(await browser.told.get(), "described", kind="offer", sdp="v=0\r\nm=audio 9 X Y\r\n")
    with pytest.raises(MeshcallError, match="description"):
        await offering


async def test_sessions_change_only_behind_the_gate(browser: Browser) -> None:
    """And only with the certificate that the confirm was about."""
    endpoint, opening = await connected(browser)
    offer = b"\x10" + from_sdp(sdp(b"\x02" * 32)).encode()
    browser.say(opening, "control", data=b64(offer))
    assert endpoint.statistics().counters["negotiate-early"] == 1
    await endpoint.open_gate()
    assert isinstance(await browser.told.get(), p.Gate)
    browser.say(opening, "control", data=b64(offer))
    remote = await browser.told.get()
    assert isinstance(remote, p.Remote)
    assert remote.kind == "offer"
    browser.say(opening, "control", data=b64(b"\x10" + from_sdp(sdp(b"\x09" * 32)).encode()))
    browser.say(opening, "control", data=b64(b"\x11junk"))
    counters = endpoint.statistics().counters
    assert counters["negotiate-fingerprint"] == 1
    assert browser.told.empty()
    await endpoint.close()


async def test_a_browser_goes_on_hearing_of_a_source_that_sends_no_more(browser: Browser) -> None:
    """Of a screen that is shared, kept back and shared again, in whatever the peer describes."""
    endpoint, opening = await connected(browser)
    await endpoint.open_gate()
    await browser.told.get()
    first = from_sdp(sdp(b"\x02" * 32))
    screen = replace(first.sections[1], mid="9", ssrcs=(77, 78), stream=1)
    stopped = replace(screen, direction="inactive", ssrcs=(), stream=0)
    changes: list[tuple[Section, Literal["offer", "answer"]]] = [
        (screen, "offer"),
        (stopped, "offer"),
        (stopped, "answer"),
        (screen, "offer"),
    ]
    for section, kind in changes:
        if kind == "answer":
            browser.say(opening, "described", kind="offer", sdp=sdp(b"\x01" * 32), round=1)
            assert isinstance(await browser.told.get(), p.SendControl)
        setup = "actpass" if kind == "offer" else "active"
        described = replace(first, setup=setup, sections=(*first.sections, section))
        browser.say(opening, "control", data=b64(encode_negotiate(Negotiate(kind, described.encode()))))
        assert not any("negotiate" in name for name in endpoint.statistics().counters)
        remote = await browser.told.get()
        assert isinstance(remote, p.Remote)
        before, camera, shown = remote.sdp.rsplit("m=", 2)
        assert "a=ssrc-group:FID 77 78\r\n" in shown
        assert ("a=msid:" in shown) == (section is screen)
        assert "a=mid:9\r\n" in shown
        assert " 77" not in before + camera
    await endpoint.close()


def change(kind: Literal["offer", "answer"], number: int, fingerprint: bytes = b"\x02" * 32) -> bytes:
    """What the peer says of a change."""
    notes = (RoundNote(number),) if number else ()
    description = replace(from_sdp(sdp(fingerprint, kind)), notes=notes)
    return encode_negotiate(Negotiate(kind, description.encode()))


async def test_a_change_goes_by_letter_too_while_no_path_answers(browser: Browser) -> None:
    """Numbered, so that of what comes twice or late nothing reaches the browser; answers go the same way."""
    endpoint, opening = await connected(browser)
    await endpoint.open_gate()
    assert isinstance(await browser.told.get(), p.Gate)
    events = endpoint.events()
    browser.say(opening, "path-gone")
    assert await anext(events) == m.PathBroken()
    browser.say(opening, "described", kind="offer", sdp=sdp(b"\x01" * 32), round=4)
    by_letter = await anext(events)
    by_control = await browser.told.get()
    assert isinstance(by_letter, m.Change)
    assert isinstance(by_control, p.SendControl)
    assert by_letter.data == by_control.data
    offer = decode_negotiate_untrusted(by_letter.data)
    assert decode_description_untrusted(offer.body).notes == (RoundNote(4),)

    endpoint.change(change("answer", 3))
    endpoint.change(change("answer", 4, fingerprint=b"\x09" * 32))
    endpoint.change(change("answer", 4))
    browser.say(opening, "control", data=b64(change("answer", 4)))
    remote = await browser.told.get()
    assert isinstance(remote, p.Remote)
    assert (remote.kind, remote.round) == ("answer", 4)
    browser.say(
        opening,
        "path",
        local={"kind": "host", "address": "", "port": 0},
        remote={"kind": "prflx", "address": "192.168.1.2", "port": 9},
    )
    assert isinstance(await anext(events), m.IceConnected)

    endpoint.change(change("offer", 7))
    browser.say(opening, "control", data=b64(change("offer", 7)))
    browser.say(opening, "control", data=b64(change("offer", 6)))
    remote = await browser.told.get()
    assert isinstance(remote, p.Remote)
    assert (remote.kind, remote.round) == ("offer", 7)
    browser.say(opening, "described", kind="answer", sdp=sdp(b"\x01" * 32, "answer"), round=7)
    answer = await anext(events)
    assert isinstance(answer, m.Change), "the offer came by letter"
    assert isinstance(await browser.told.get(), p.SendControl)
    assert browser.told.empty()
    counters = endpoint.statistics().counters
    assert (counters["negotiate-old"], counters["negotiate-fingerprint"]) == (4, 1)
    await endpoint.close()


async def test_an_offer_after_one_without_an_answer_goes_by_letter_too(browser: Browser) -> None:
    """Something comes over the path, so it looks whole here; what is sent may not arrive all the same."""
    endpoint, opening = await connected(browser)
    await endpoint.open_gate()
    assert isinstance(await browser.told.get(), p.Gate)
    for number in (1, 2):
        browser.say(opening, "described", kind="offer", sdp=sdp(b"\x01" * 32), round=number)
    first, second = [await browser.told.get() for _ in range(2)]
    by_letter = await anext(endpoint.events())
    assert isinstance(first, p.SendControl)
    assert isinstance(second, p.SendControl)
    assert isinstance(by_letter, m.Change)
    assert by_letter.data == second.data != first.data
    await endpoint.close()


async def test_pages_are_bounded_and_apart(browser: Browser) -> None:
    """So many at once; one can't speak for the endpoint of another."""
    others = [browser.desk.open(lambda message: None) for _ in range(limits.PAGES_MAX - 1)]
    with pytest.raises(TooManyListeners):
        browser.desk.open(lambda message: None)
    endpoint, opening = await connected(browser)
    browser.desk.receive(others[0], f'{{"told": "path-gone", "media": "{opening.media}"}}')
    browser.desk.receive(browser.page, "nonsense")
    assert browser.counters == {"page-foreign": 1, "page-page": 1}
    await endpoint.close()
