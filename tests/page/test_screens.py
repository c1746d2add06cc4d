"""Every screen, for everybody: nothing that axe-core calls serious, nothing wider than the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.async_api import Page, expect

from tests.page.screens import SCREENS, chromium, contacts, enter, page_of
from tests.page.shown_rooms import PEOPLE

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
SIZES = {"wide": (1440, 900), "tablet": (768, 1024), "phone": (390, 844)}

pytestmark = pytest.mark.timeout(120)


async def flaws(tab: Page) -> list[str]:
    """What axe-core finds that is serious or critical."""
    await tab.evaluate(AXE)
    result: dict[str, Any] = await tab.evaluate(
        "axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', "
        "'best-practice']})"
    )
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:120]}"
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en-US", "ar"])
async def test_every_screen_is_for_everybody(tmp_path: Path, size: str, language: str) -> None:
    """In three sizes, and from right to left."""
    found: dict[str, list[str]] = {}
    async with (
        page_of(tmp_path / "home") as (page, node),
        chromium(page, *SIZES[size], language=language) as tab,
    ):
        assert await tab.evaluate("document.documentElement.dir") == ("rtl" if language == "ar" else "ltr")
        for name, show in SCREENS.items():
            await show(tab, page, node)
            if bad := await flaws(tab):
                found[name] = bad
            width = await tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if width > 0:
                found.setdefault(name, []).append(f"{width} px too wide")
            for call in list(node.made.values()):
                call.end("hangup")
    assert found == {}


async def test_all_by_keyboard(tmp_path: Path) -> None:
    """A contact is added without a mouse; the focus is always on something that can be seen."""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        await contacts(tab, page, node)
        press = tab.keyboard.press
        await tab.locator(".skip").focus()
        box = await tab.locator(".skip").bounding_box()
        assert box is not None
        assert box["y"] >= 0, "the skip link is seen when it has the focus"
        for _ in range(12):
            await press("Tab")
            if "primary" in str(await tab.evaluate("document.activeElement.className")):
                break
        await press("Enter")
        await tab.locator("#add-text").wait_for()
        assert await tab.evaluate("document.activeElement.id") == "add-text"
        await tab.keyboard.type("not an id")
        await press("Tab")
        await tab.keyboard.type("Zoe")
        await press("Enter")
        await tab.locator(".problem:not(:empty)").wait_for()
        await press("Escape")
        await tab.locator("dialog").wait_for(state="detached")
        assert await tab.evaluate("document.activeElement.tagName") == "BUTTON"


async def test_blocking_and_unblocking_by_keyboard(tmp_path: Path) -> None:
    """The focus goes to what undoes it, both ways, and it is said what happened."""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        room = await enter(tab, node)
        peer = PEOPLE[1].peer_id
        press = tab.keyboard.press
        said = tab.locator("#polite")
        await press("p")
        await tab.locator(f"#block-{peer}").focus()
        await press("Enter")
        await tab.locator("dialog button.danger").focus()
        node.shown.change(room, locked=True)  # the panel is drawn anew behind the dialog
        await expect(tab.locator("#room-lock")).to_be_checked()
        await press("Enter")
        await expect(tab.locator(f"#unblock-{peer}")).to_be_focused()
        await expect(said).to_have_text("“Bob” is blocked")
        assert await tab.locator(f".tile[data-peer='{peer}']").count() == 0
        await press("Enter")
        await expect(tab.locator(f"#block-{peer}")).to_be_focused()
        await expect(said).to_have_text("“Bob” is not blocked any more")
        await tab.locator(f".tile[data-peer='{peer}']").wait_for()


async def test_languages_are_chosen_and_kept(tmp_path: Path) -> None:
    """German, then after a reload still German."""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        await SCREENS["settings"](tab, page, node)
        await tab.locator("#language").select_option("de")
        await tab.get_by_role("heading", name="Einstellungen").wait_for()
        await tab.reload()
        await tab.get_by_role("heading", name="Einstellungen").wait_for()
        assert await tab.evaluate("document.documentElement.lang") == "de"
