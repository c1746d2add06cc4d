"""Options for what runs leave behind: ``--html``, ``--keep``, ``--pcap``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the results")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep logs and files of all programs there")
    parser.add_argument(
        "--pcap", type=Path, metavar="DIR", help="record all hosts and routers, for Wireshark"
    )


def check_file_arguments(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what can't be written before anything runs; make folders absolute, as programs run elsewhere."""
    for name in ("html", "keep", "pcap"):
        path: Path | None = getattr(options, name)
        if path is None:
            continue
        path = path.absolute()
        if not path.parent.is_dir():
            parser.error(f"--{name}: there is no folder {path.parent}")
        if path.is_dir() if name == "html" else path.exists() and not path.is_dir():
            parser.error(f"--{name}: {path} is a {'folder' if path.is_dir() else 'file'}")
        if name == "keep" and path.is_dir() and any(path.iterdir()):
            parser.error(f"--keep: {path} is not empty, and programs would take what is there for their own")
        setattr(options, name, path)
