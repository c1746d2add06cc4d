"""Files in a call: the rules by themselves, between two pages, and where nobody takes any."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from netsim.lab import Lab
from netsim.link import LinkConditions
from netsim.peer import Peer
from tests.page.browser import GRANTED, Tab, browser_on, call_and_answer, no_errors, open_page
from tests.page.screens import chromium, contacts, page_of

pytestmark = pytest.mark.timeout(180)

RULES = Path(__file__).with_name("file_rules.js")
MODULES = ("machine", "message", "name", "hash", "store")
LARGE = 400 * 1024 * 1024
"""Octets of a file that is still on its way when somebody changes their mind."""


async def test_the_rules_of_files(tmp_path: Path) -> None:
    """Every case of file_rules.js holds, with the modules as the page has them."""
    script = """async ([rules, names]) => {
        const load = name => import(`/js/call/files/${name}.js`);
        const modules = {limits: await load('limits')};
        for (const name of names) Object.assign(modules, await load(name));
        const {setUp, cases} = rules;
        const found = {};
        for (const [name, check] of Object.entries(cases))
            try { await check(setUp(modules)); found[name] = ''; }
            catch (error) { found[name] = String(error.stack); }
        return found;
    }"""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        await contacts(tab, page, node)
        found = await tab.evaluate(f"({script})([{RULES.read_text()}, {json.dumps(MODULES)}])")
    assert len(found) > 20
    assert {name: error for name, error in found.items() if error} == {}


async def says(tab: Tab, name: str, text: str) -> None:
    """Return when the row of a file says that."""
    await tab.until(
        "[...document.querySelectorAll('li.file')].some(row => "
        f"row.querySelector('bdi').textContent === {json.dumps(name)} && "
        f"row.querySelector(':scope > .hint').textContent.includes({json.dumps(text)}))"
    )


async def offer(tab: Tab, *paths: Path) -> None:
    """Pick files in the call."""
    await tab.do("files", selector="#file-picker", paths=[str(path) for path in paths])


async def asked(tab: Tab, name: str) -> None:
    """Return when somebody is asked whether to take it."""
    await tab.until(f"document.querySelector('.file-question bdi')?.textContent === {json.dumps(name)}")


async def drop(tab: Tab, selector: str, name: str, content: str) -> None:
    """Drop a file on something."""
    await tab.eval(
        "(() => { const dropped = new DataTransfer();"
        f"dropped.items.add(new File([{json.dumps(content)}], {json.dumps(name)}));"
        f"document.querySelector({json.dumps(selector)}).dispatchEvent(new DragEvent('drop', "
        "{dataTransfer: dropped, bubbles: true, cancelable: true})); })()"
    )


def write(folder: Path, name: str, octets: int) -> Path:
    """A file of octets by lot."""
    path = folder / name
    path.write_bytes(random.Random(name).randbytes(octets))
    return path


def write_large(folder: Path) -> Path:
    """A file that takes long."""
    path = folder / "large.bin"
    with path.open("wb") as file:
        file.truncate(LARGE)
    return path


async def two_contacts(lab: Lab, *, emulated: bool = False) -> tuple[Peer, Peer]:
    """Daemons on a LAN that know each other."""
    lan = await lab.lan(["alice", "bob"], emulated=emulated)
    alice, bob = (Peer(host) for host in lan)
    await asyncio.gather(alice.start(), bob.start())
    for one, other, name in ((alice, bob, "bob"), (bob, alice, "alice")):
        (await one.cli("contact", "add", other.id, "--name", name)).check()
    return alice, bob


async def test_files_go_from_page_to_page(lab: Lab, tmp_path: Path) -> None:
    """Asked, declined, taken octet for octet, one after the other, cancelled, cut off; by a contact."""
    alice, bob = await two_contacts(lab)
    async with browser_on(alice.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(alice, a), open_page(bob, b))
        await call_and_answer(a, b, "bob")

        beside = "new DragEvent('drop', {dataTransfer: new DataTransfer(), cancelable: true, bubbles: true})"
        files = "event.dataTransfer.items.add(new File(['x'], 'x'))"
        script = (
            f"(() => {{ const event = {beside}; {files}; return document.body.dispatchEvent(event); }})()"
        )
        assert await a.eval(script) is False, "a file beside what takes it does not replace the page"

        await drop(a, ".call-screen", "../../<img src=x>\u202emth.exe", "x")
        await asked(b, "_img src=x_mth.exe")
        assert await b.do("count", selector=".file img, .file-question img") == 0
        await b.click("#file-decline")
        await says(a, "_img src=x_mth.exe", "bob declined it")
        await says(b, "_img src=x_mth.exe", "You declined it")

        first, second = write(tmp_path, "first.bin", 3_000_007), write(tmp_path, "second.bin", 16_384)
        await offer(a, first, second)
        for file in (first, second):
            await asked(b, file.name)
            await b.click("#file-accept")
            await says(a, file.name, "Sent, and whole")
            saved = tmp_path / f"saved-{file.name}"
            got = await b.do("download", selector=f"a[href][download='{file.name}']", path=str(saved))
            assert got == file.name
            assert saved.read_bytes() == file.read_bytes()

        large = write_large(tmp_path)
        for stopping, other in ((a, b), (b, a)):
            await offer(a, large)
            await asked(b, large.name)
            await b.click("#file-accept")
            await b.until("document.querySelector('li.file[data-state=running] progress')?.value > 0")
            await a.click("#tool-chat")
            await a.fill(".chat-form input", f"while it goes to {stopping is a}")
            await a.do("press", key="Enter")
            await b.until(f"document.querySelector('.lines').textContent.includes('{stopping is a}')")
            await a.click("#tool-files")
            await stopping.click("li.file[data-state=running] button:not([hidden])")
            name = "bob" if other is a else "alice"
            await says(stopping, large.name, "You cancelled it")
            await says(other, large.name, f"{name} cancelled it")
            await asyncio.gather(a.sees(), b.sees())

        await offer(b, first)
        await asked(a, first.name)
        await a.click("#file-accept")
        await a.wait("a[href][download='first.bin']")
        await offer(a, large)
        await asked(b, large.name)
        await b.click("#file-accept")
        await b.until("document.querySelector('li.file[data-state=running] progress')?.value > 0")
        await b.click("#tool-hangup")
        for tab in (a, b):
            await tab.wait(".call-screen", "detached")
            await tab.wait(".left")
            await says(tab, large.name, "The call ended before it was there whole")
        saved = tmp_path / "after-the-call"
        assert await a.do("download", selector=".left a[href][download]", path=str(saved)) == first.name
        assert saved.read_bytes() == first.read_bytes()
        for tab in (a, b):
            await tab.click(".left > .buttons button")
            await tab.wait(".left", "detached")

        await drop(a, f".card[data-peer='{bob.id}']", "note.txt", "dropped on a contact")
        await a.wait(".call-screen")
        await says(a, "note.txt", "Waits")
        await b.wait("#answer-audio")
        await b.click("#answer-audio")
        await asked(b, "note.txt")
        await b.click("#file-accept")
        saved = tmp_path / "note"
        await b.do("download", selector="a[href][download='note.txt']", path=str(saved))
        assert saved.read_text() == "dropped on a contact"
        await a.click("#tool-hangup")
        await b.wait(".call-screen", "detached")
        assert await b.do("count", selector=".left") == 0, "it was saved"

        await a.click(f".card[data-peer='{bob.id}'] .actions button:last-child")
        await a.do("files", selector="#more-picker", paths=[str(first)])
        await b.wait("#decline")
        await b.click("#decline")
        await a.wait(".left")
        await says(a, first.name, "The call did not come about")
        await no_errors(a, b)


SLOW = LinkConditions(delay_ms=15, rate_mbit=4, queue_ms=1000)
"""An uplink whose queue makes everything behind a file a second late."""


async def test_on_a_slow_line_a_call_does_not_queue_behind_a_file(lab: Lab, tmp_path: Path) -> None:
    """Chat and the round trip stay within half of what the line's queue would cost."""
    alice, bob = await two_contacts(lab, emulated=True)
    async with browser_on(alice.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(alice, a), open_page(bob, b))
        await call_and_answer(a, b, "bob")
        await lab.lans["lan1"].set_conditions(SLOW, host="alice")
        await offer(a, write_large(tmp_path))
        await asked(b, "large.bin")
        await b.click("#file-accept")
        await a.click("#tool-chat")
        trips: list[float] = []
        chats: list[float] = []
        for number in range(10):
            await asyncio.sleep(1)
            trips.append(float(await a.eval("meshcall.peers()[0].stats.rtt * 1000")))
            await a.fill(".chat-form input", f"line {number}")
            began = time.monotonic()
            await a.do("press", key="Enter")
            await b.until(f"document.querySelector('.lines').textContent.includes('line {number}')")
            chats.append((time.monotonic() - began) * 1000)
        moved = float(await b.eval("document.querySelector('li.file progress').value")) / 1000
        print(f"round trips {trips} ms; chat {[round(ms) for ms in chats]} ms; {moved:.0f} kB moved")
        assert statistics.median(trips) < SLOW.queue_ms / 2
        assert statistics.median(chats) < SLOW.queue_ms / 2
        assert moved > 500, "and the file moves"
        await asyncio.gather(a.sees(), b.sees())


async def test_a_page_that_breaks_the_rules_ends_its_transfer_and_no_call(lab: Lab, tmp_path: Path) -> None:
    """Chunks nobody asked for, too many octets, a wrong hash, nonsense: nothing is saved, files still go."""
    alice, bob = await two_contacts(lab)

    async def send(tab: Tab, *messages: dict[str, Any] | list[int]) -> None:
        said = json.dumps(messages)
        await tab.eval(
            "import('/js/call/files/message.js').then(({encode}) => { for (const one of " + said + ") {"
            "  if (one.data) one.data = new Uint8Array(one.data).fill(7);"
            "  if (one.root) one.root = new Uint8Array(32);"
            "  const octets = Array.isArray(one) ? new Uint8Array(one) : encode(one);"
            "  meshcall.peers()[0].files.channel.send(octets);"
            "} })"
        )

    def offered(transfer: int, octets: int = 5) -> dict[str, Any]:
        return {"type": "offer", "transfer": transfer, "octets": octets, "name": f"{transfer}.bin"}

    def chunk(transfer: int, octets: int, number: int = 0) -> dict[str, Any]:
        return {"type": "chunk", "transfer": transfer, "number": number, "data": octets}

    async with browser_on(alice.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(alice, a), open_page(bob, b))
        await call_and_answer(a, b, "bob")
        machine = "meshcall.peers()[0].files.machine"
        await a.eval(f"void ({machine}.receive = () => {{}})")  # it is answered for what it never said
        await send(a, offered(1), chunk(1, 5))
        await says(b, "1.bin", "broke the rules")
        afterwards: dict[int, list[dict[str, Any] | list[int]]] = {
            2: [chunk(2, 6)],
            3: [chunk(3, 5), chunk(3, 1, number=1)],
            4: [[0x77, 1, 2, 3]],
            5: [{"type": "end", "transfer": 5, "root": 32}],
            6: [offered(7)],
        }
        for transfer, messages in afterwards.items():
            await send(a, offered(transfer))
            await asked(b, f"{transfer}.bin")
            await b.click("#file-accept")
            await says(b, f"{transfer}.bin", "Receiving")
            await send(a, *messages)
            await says(b, f"{transfer}.bin", "broke the rules")
        await send(a, offered(8))
        await asked(b, "8.bin")
        await b.click("#file-accept")
        await send(a, chunk(8, 5), {"type": "end", "transfer": 8, "root": 32})
        await says(b, "8.bin", "arrived damaged")
        assert await b.do("count", selector="a[download][href]") == 0, "nothing can be saved"

        await a.eval(f"delete {machine}.receive")
        good = write(tmp_path, "good.bin", 100_000)
        await offer(b, good)
        await asked(a, good.name)
        await a.click("#file-accept")
        await says(b, good.name, "Sent, and whole")
        await asyncio.gather(a.sees(), b.sees())
        await no_errors(a, b)


async def test_a_headless_machine_takes_no_files_and_that_is_said(lab: Lab, tmp_path: Path) -> None:
    """Within seconds of the call's start, later at once; the call goes on."""
    lan = await lab.lan(["alice", "robot"])
    alice, robot = (Peer(host) for host in lan)
    await asyncio.gather(alice.start(), robot.start("--auto-answer", "contacts", "--source", "testsrc"))
    (await robot.cli("contact", "add", alice.id, "--name", "alice")).check()
    (await alice.cli("contact", "add", robot.id, "--name", "robot")).check()
    first, second = write(tmp_path, "first.bin", 10), write(tmp_path, "second.bin", 10)
    async with browser_on(alice.host, *GRANTED) as a:
        await open_page(alice, a)
        await a.click("button[aria-label='Call robot with video']")
        await offer(a, first)
        await a.sees()
        await says(a, first.name, "robot can't take files")
        began = time.monotonic()
        await offer(a, second)
        await says(a, second.name, "robot can't take files")
        assert time.monotonic() - began < 1
        await a.sees()
        await no_errors(a)
