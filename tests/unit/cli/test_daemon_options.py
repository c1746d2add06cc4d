"""The daemon's flags become a configuration, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshcall.config import Config
from meshcall.daemon_options import config_from, make_parser
from meshcall.errors import MeshcallError, RecordFailed, SourceUnusable, UsageError


def config(*flags: str, directory: Path = Path("/")) -> Config:
    """The configuration of a command line."""
    return config_from(make_parser().parse_args(["--home", "/nowhere", *flags]), directory)


def test_defaults() -> None:
    """Without flags: any port, LAN and DHT, nobody is answered by itself."""
    assert config() == Config(home=Path("/nowhere"))


def test_all_flags(tmp_path: Path) -> None:
    """Each flag has its field."""
    made = config(
        "--port", "4242", "--name", "Bob", "--visible", "--bootstrap", "a.example:1",
        "--bootstrap", "[::1]:2", "--interface", "eth0", "--ice-server", "turn:h:1,u,c",
        "--auto-answer", "contacts", "--contacts-only",
        "--source", "none", "--record", "sub", "--no-mdns",
        "--relay", "--relay-port", "443", "--relay-address", "5.0.0.1", "--relay-address", "2a05::1",
        "--relay-certificate", "relay.pem", "--no-port-mapping",
        "--coturn", "3478,5349", "--coturn-secret", "coturn.key", "--no-notifications", "--media-workers",
        directory=_with_folder(tmp_path, "sub"),
    )  # fmt: skip
    assert made == Config(
        home=Path("/nowhere"),
        port=4242,
        name="Bob",
        fixed=frozenset({"name", "auto_answer"}),
        mdns=False,
        visible=True,
        bootstrap=("a.example:1", "[::1]:2"),
        ice_servers=("turn:h:1,u,c",),
        port_mapping=False,
        interfaces=("eth0",),
        auto_answer="contacts",
        source="none",
        record_dir=tmp_path / "sub",
        accept_strangers=False,
        contacts_only=True,
        notifications=False,
        media_workers=True,
        relay=True,
        relay_port=443,
        relay_addresses=("5.0.0.1", "2a05::1"),
        relay_certificate=tmp_path / "relay.pem",
        coturn="3478,5349",
        coturn_secret=tmp_path / "coturn.key",
    )


def test_a_relative_source_is_made_absolute(tmp_path: Path) -> None:
    """The daemon may change its folder, the flag keeps its meaning."""
    (tmp_path / "clip.mkv").write_bytes(b"x")
    assert config("--source", "clip.mkv", directory=tmp_path).source == str(tmp_path / "clip.mkv")


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (["--port", "70000"], UsageError),
        (["--port", "-1"], UsageError),
        (["--port", "x"], UsageError),
        (["--name", "x" * 65], UsageError),
        (["--name", "a\nb"], UsageError),
        (["--bootstrap", "nohost"], UsageError),
        (["--ice-server", "turn:h"], UsageError),
        (["--bootstrap", "::1:5"], UsageError),
        (["--bootstrap", "host:0"], UsageError),
        (["--auto-answer", "everybody"], UsageError),
        (["--lan-only", "--no-mdns"], UsageError),
        (["--lan-only", "--bootstrap", "a:1"], UsageError),
        (["--surplus"], UsageError),
        (["--relay-port", "70000"], UsageError),
        (["--relay", "--no-relay"], UsageError),
        (["--coturn", "relay.example:3478"], UsageError),
        (["--coturn", "3478", "--no-relay"], UsageError),
        (["--coturn-secret", "file"], UsageError),
        (["--relay-address", "relay.example"], UsageError),
        (["--relay-address", "5.0.0.1", "--relay-address", "5.0.0.2"], UsageError),
        (["surplus"], UsageError),
        (["--source", "/no/such/file"], SourceUnusable),
        (["--source", "/"], SourceUnusable),
        (["--source", "camera:x"], SourceUnusable),
        (["--record", "/no/such/folder"], RecordFailed),
    ],
)
def test_refused(flags: list[str], kind: type[MeshcallError]) -> None:
    """Before anything is started."""
    with pytest.raises(kind):
        config(*flags)


def _with_folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent
