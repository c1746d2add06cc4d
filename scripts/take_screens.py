"""Takes the pictures in docs/screens: every screen of the call page in three sizes, or those that are named.

Needs Chromium.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.page.screens import SCREENS, chromium, page_of  # noqa: E402 - the tests lie beside the package

SIZES = {"wide": (1440, 900), "tablet": (768, 1024), "phone": (390, 844)}
FOLDER = ROOT / "docs" / "screens"


async def main(names: list[str]) -> None:
    """Those screens; none: all of them."""
    FOLDER.mkdir(exist_ok=True)
    for size, (width, height) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            async with page_of(Path(folder) / "home") as (page, node), chromium(page, width, height) as tab:
                for name, show in SCREENS.items():
                    if names and name not in names:
                        continue
                    await show(tab, page, node)
                    await tab.screenshot(path=FOLDER / f"{name}-{size}.png")
                    for call in list(node.made.values()):
                        call.end("hangup")
                    await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
