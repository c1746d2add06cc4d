"""`meshcall dht ...` and `meshcall bootstrap-node`, as processes on the loopback interface."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshcall.stun.attributes import xor_address_untrusted
from meshcall.stun.message import (
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)
from netsim.bench.installed import environment
from netsim.bench.router_process import command, resident, weigh
from tests.daemon.conftest import Daemon, StartDaemon, run_cli, wait_for

MEMORY_MAX = 30_000_000
RECORDS = 1000


class Router:
    """A bootstrap node that was started."""

    def __init__(self, home: Path, *flags: str) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        self._log_file = self.log.open("ab")
        self.process = subprocess.Popen(
            command(home, *flags),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log_file,
            text=True,
        )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        found = re.fullmatch(r"ready: node ([0-9a-f]{8}) on UDP port (\d+), home .*\n", self.ready_line)
        assert found, f"{self.ready_line!r}: {self.log.read_text()}"
        self.node, self.port = found[1], int(found[2])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def report(self) -> str:
        """What it logs on SIGUSR1."""
        before = self.log.stat().st_size
        self.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: self.log.stat().st_size > before, "a report")
        return self.log.read_text().splitlines()[-1]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log_file.close()
        return code


StartRouter = Callable[..., Router]


@pytest.fixture
def start_router(tmp_path: Path) -> Iterator[StartRouter]:
    """Starts bootstrap nodes: ``start_router(name, *flags)``."""
    started: list[Router] = []

    def start(name: str = "router", *flags: str) -> Router:
        router = Router(tmp_path / name, *(flags or ("--port", "0")))
        started.append(router)
        return router

    yield start
    for router in started:
        router.stop()


def start_member(tmp_path: Path, start_daemon: StartDaemon, name: str, router: Router) -> Daemon:
    """A daemon that has joined through the router."""
    home = tmp_path / name
    assert run_cli(home, "init").code == 0
    return start_daemon(home, "--no-mdns", "--bootstrap", router.address)


def document(daemon: Daemon, *arguments: str) -> dict[str, object]:
    """The JSON that a command prints."""
    done = daemon.cli(*arguments, "--json")
    assert done.code == 0, done.err
    found: dict[str, object] = json.loads(done.out)
    assert found["schema"] == 1
    return found


def test_two_daemons_find_each_other_through_a_bootstrap_node(
    tmp_path: Path, start_router: StartRouter, start_daemon: StartDaemon
) -> None:
    """Each joins through it, one's presence is found by the other, and every tool tells of it."""
    router = start_router()
    alice = start_member(tmp_path, start_daemon, "alice", router)
    bob = start_member(tmp_path, start_daemon, "bob", router)
    bob_id = str(document(bob, "id")["peer_id"])

    wait_for(lambda: document(alice, "dht", "status")["nodes"] == 1, "alice knows the router")
    wait_for(lambda: document(alice, "dht", "lookup", bob_id)["values"], "bob's presence is found")
    found = document(alice, "dht", "lookup", bob_id)
    assert found["peer_id"] == bob_id
    values = found["values"]
    assert isinstance(values, list)
    assert [(v["type"], v["source"], v["problem"]) for v in values] == [("presence", router.address, "")]
    asked = found["asked"]
    assert isinstance(asked, list)
    assert [(n["node_id"][:8], n["address"], n["answered"], n["hop"], n["closest"]) for n in asked] == [
        (router.node, router.address, True, 1, True)
    ]
    assert found["first_ms"] is not None

    again = document(alice, "dht", "lookup", str(found["key"]))
    assert again["values"], "the storage key itself finds it, too"
    own = document(bob, "dht", "lookup", bob_id)
    assert own["holders"] == [router.address], "the owner knows who holds its watch"
    wait_for(
        lambda: "kept by 1 of the 1 closest node\n" in bob.cli("dht", "lookup", bob_id).err,
        "the owner sees that the router keeps its presence",
    )

    state = document(bob, "dht", "status")
    assert (state["role"], state["proofs"], state["proofs_needed"]) == ("ephemeral", 0, 3)
    assert state["addresses"] == [f"127.0.0.1:{document(bob, 'status')['port']}"]
    assert state["bootstrap"] == [router.address]
    text = bob.cli("status").out
    assert re.search(
        r"^dht\tephemeral, 1 node, \d+ watch(es)? held by others, \d+ stored$", text, re.MULTILINE
    ), text

    ping = document(alice, "dht", "ping", f"localhost:{router.port}")
    assert ping["proven"] is True
    assert str(ping["node_id"]).startswith(router.node)
    assert ping["role"] == "router"
    assert ping["observed"] == f"127.0.0.1:{document(alice, 'status')['port']}"
    report = router.report()
    assert re.search(r"[1-9]\d* records \(\d+ octets\), [1-9]\d* watches", report), report
    assert "127.0.0.1" not in report


def test_nobody_answers(tmp_path: Path, start_router: StartRouter, start_daemon: StartDaemon) -> None:
    """A port without a node is exit code 6 with a hint, a name without an address exit code 4."""
    daemon = start_member(tmp_path, start_daemon, "alone", start_router())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        done = daemon.cli("dht", "ping", f"127.0.0.1:{port}")
    assert done.code == 6
    assert done.err.splitlines()[0] == f"error: no DHT node answers at 127.0.0.1:{port} within 3 s"
    assert done.err.splitlines()[1].startswith("hint: ")
    done = daemon.cli("dht", "ping", "no-such-host.invalid:4600")
    assert (done.code, done.err.splitlines()[0]) == (
        4,
        "error: the host no-such-host.invalid can't be resolved",
    )
    for arguments, code in (
        (("ping", "0.0.0.0:4600"), 2),
        (("ping", "here"), 2),
        (("ping", "here:99999"), 2),
        (("lookup", "ab" * 19), 2),
        (("lookup", "nobody"), 4),
        (("lookup", "a" * 56), 2),
    ):
        done = daemon.cli("dht", *arguments)
        assert (done.code, done.out) == (code, ""), (arguments, done.err)
        assert done.err.startswith("error: ")


def test_a_lan_only_node_routes_in_the_dht_of_its_lan(home: Path, start_daemon: StartDaemon) -> None:
    """Alone there, it has nobody to ask, and says so."""
    daemon = start_daemon(home, "--lan-only")
    status = daemon.cli("dht", "status")
    assert status.code == 0
    assert "router: every node of a LAN-only network routes" in status.out
    assert "nobody could be asked" in daemon.cli("dht", "lookup", "ab" * 20).err


def test_a_bootstrap_node_that_is_killed_comes_back(
    tmp_path: Path, start_router: StartRouter, start_daemon: StartDaemon
) -> None:
    """The same id and the table saved last, after SIGTERM and SIGKILL, without being told an address."""
    first = start_router("first")
    second = start_router("second", "--port", "0", "--bootstrap", first.address)
    wait_for(lambda: "1 nodes" in second.report(), "the second knows the first")
    assert second.stop() == 0
    kept = (tmp_path / "second" / "dht.state").read_bytes()

    back = start_router("second")
    assert back.node == second.node
    wait_for(lambda: "1 nodes" in back.report(), "the table is restored")
    assert back.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (tmp_path / "second" / "dht.state").read_bytes() == kept

    again = start_router("second")
    assert again.node == second.node
    wait_for(lambda: "1 nodes" in again.report(), "the table is restored after a kill")
    assert (tmp_path / "second" / "node.key").stat().st_mode & 0o777 == 0o600


def test_damaged_files_are_set_aside(tmp_path: Path, start_router: StartRouter) -> None:
    """It starts with a new key and an empty table, and says so."""
    old = start_router()
    old.stop()
    (old.home / "node.key").write_bytes(b"short")
    (old.home / "dht.state").write_bytes(b"\xff nonsense")
    new = start_router()
    assert new.node != old.node
    assert len(list(old.home.glob("*.corrupt-*"))) == 2
    assert new.log.read_text().count("was damaged") == 2


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    """READY=1 when it listens, WATCHDOG=1 in time, STOPPING=1 at the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with subprocess.Popen(
            command(tmp_path / "router", "--port", "0", "--quiet"),
            env=environment() | told,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            process.terminate()
            while (last := manager.recv(100)) == b"WATCHDOG=1":
                pass
            assert last == b"STOPPING=1"
            _, err = process.communicate(timeout=10)
            assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--port", "70000"), 2, "70000 is not a port"),
        (("--bootstrap", "nowhere"), 2, "is not HOST:PORT"),
        (("--lan-only",), 2, "--lan-only"),
        (("--home", ""), 2, "no folder is named"),
    ],
)
def test_bad_flags_of_a_bootstrap_node(tmp_path: Path, flags: tuple[str, ...], code: int, words: str) -> None:
    """One line and the documented exit code, before anything is made."""
    done = run_cli(tmp_path / "router", "bootstrap-node", *flags)
    assert (done.code, done.out) == (code, "")
    assert words in done.err.splitlines()[0]
    assert not (tmp_path / "router").exists()


def test_what_stops_a_bootstrap_node_from_starting(home: Path, start_router: StartRouter) -> None:
    """The home of an identity, a taken port, a second one in the same home: each one line, each its code."""
    done = run_cli(home, "bootstrap-node", "--port", "0")
    assert done.code == 2
    assert "is the home of an identity" in done.err
    router = start_router()
    done = run_cli(router.home, "bootstrap-node", "--port", "0")
    assert (done.code, done.err.count("\n")) == (1, 2)
    assert "uses the home" in done.err
    done = run_cli(router.home.parent / "other", "bootstrap-node", "--port", str(router.port))
    assert done.code == 1
    assert f"UDP port {router.port} is taken" in done.err


def test_help_lists_the_commands(tmp_path: Path) -> None:
    """`bootstrap-node` and `dht` are commands like the others, with help of their own."""
    text = run_cli(tmp_path, "--help").out
    assert re.search(r"^  bootstrap-node +Run a plain DHT router", text, re.MULTILINE)
    assert re.search(r"^  dht +Look at the DHT", text, re.MULTILINE)
    assert "--bootstrap HOST:PORT" in run_cli(tmp_path, "bootstrap-node", "--help").out
    assert {"status", "lookup", "ping"} <= set(run_cli(tmp_path, "dht", "--help").out.split())


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_bootstrap_node_stays_small(tmp_path: Path) -> None:
    """At most 30 MB as one of 21 nodes after a minute, and with 1,000 signed records to keep."""
    weights = await weigh(tmp_path / "router", nodes=20, settle=60.0, stores=RECORDS)
    print(weights)
    assert weights.contacts == 20, "all nodes of the network know it"
    assert weights.stored == RECORDS
    assert weights.joined <= MEMORY_MAX
    assert weights.loaded <= MEMORY_MAX


def test_a_bootstrap_node_loads_nothing_that_it_does_not_use(start_router: StartRouter) -> None:
    """No event loop, no OpenSSL beside cryptography's, no database: its memory maps tell."""
    router = start_router()
    maps = Path(f"/proc/{router.process.pid}/maps").read_text()
    for name in ("_ssl.", "_hashlib.", "_asyncio.", "_sqlite3.", "libcrypto.", "aiohttp"):
        assert name not in maps, name
    assert resident(router.process.pid) <= MEMORY_MAX


def test_a_bootstrap_node_answers_stun(start_router: StartRouter) -> None:
    """Requests of RFC 8489 and of RFC 3489, each with the address that it came from; nothing else."""
    router = start_router("router")
    tid = bytes(range(12))
    modern = StunMessage(Method.BINDING, MessageClass.REQUEST, tid).encode()
    classic = bytes.fromhex("00010000") + bytes(range(1, 17))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5.0)
        client.connect(("127.0.0.1", router.port))
        for junk in (b"\0", modern[:-1], b"\1\1" + modern[2:]):
            client.send(junk)
        client.send(modern)
        answer = decode_stun_untrusted(client.recv(2048))
        assert answer.transaction_id == tid
        mapped = xor_address_untrusted(answer, AttributeType.XOR_MAPPED_ADDRESS)
        assert mapped == client.getsockname()
        client.send(classic)
        assert client.recv(2048)[-6:] == client.getsockname()[1].to_bytes(2, "big") + b"\x7f\0\0\1"


def test_the_systemd_unit_is_valid(tmp_path: Path) -> None:
    """The unit in docs/operations.md, with a program that is there, has nothing that systemd complains of."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    found = re.search(r"meshcall-bootstrap-node\.service`:\n\n```ini\n(.*?)```", text, re.DOTALL)
    assert found, "the unit is in the documentation"
    unit = tmp_path / "meshcall-bootstrap-node.service"
    unit.write_text(found[1].replace("/opt/meshcall/bin/meshcall", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
