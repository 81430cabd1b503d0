from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from anyio import to_thread

from nexus.models.ports import PortRange
from nexus.ports import ephemeral_overlap, is_free, reservation_command, who_listens
from nexus.ports.probe import busy_ports
from nexus.ports.sockets import sockets_on
from tests.programs import Spawn
from tests.unused_ports import unused_port

Listen = Callable[..., socket.socket]


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


ADDRESSES = ["127.0.0.1", "127.0.0.2", "0.0.0.0", *(["::1", "::"] if has_ipv6() else [])]


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_listener_on_any_address_is_seen(listen: Listen, address: str, reuse: bool) -> None:
    server = listen(0, address, reuse=reuse)
    port = port_of(server)
    assert not is_free(port)
    assert is_free(port, "udp")
    server.close()
    assert is_free(port)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_udp_socket_is_seen_by_udp_alone(listen: Listen, address: str) -> None:
    port = port_of(listen(0, address, kind=socket.SOCK_DGRAM))
    assert not is_free(port, "udp")
    assert is_free(port, "tcp")
    assert busy_ports([("udp", port), ("tcp", port)]) == [("udp", port)]


@pytest.mark.parametrize("reuse", [False, True])
def test_a_socket_that_does_not_listen_yet_is_seen(listen: Listen, reuse: bool) -> None:
    assert not is_free(port_of(listen(0, reuse=reuse, backlog=False)))


@pytest.mark.parametrize("reuse", [True, False])
def test_a_port_in_time_wait_is_free_if_its_server_allowed_it(listen: Listen, reuse: bool) -> None:
    server = listen(0, reuse=reuse)
    port = port_of(server)
    with socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first keeps the port in TIME_WAIT
        assert client.recv(1) == b""
    server.close()
    assert sockets_on(port, "tcp"), "there is something left of the connection"
    assert who_listens(port) == "a connection of a program that has ended, which the system keeps for up to a minute"
    assert is_free(port) is reuse
    if reuse:
        listen(port, "0.0.0.0", reuse=True)  # as servers and container engines do
    else:
        with pytest.raises(OSError, match="in use"):
            listen(port, "0.0.0.0", reuse=True)


def test_an_open_connection_of_a_server_that_has_closed_is_not_free(listen: Listen) -> None:
    server = listen(0, reuse=True)
    port = port_of(server)
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = server.accept()
        server.close()
        assert not is_free(port)
        accepted.close()


def test_a_port_that_is_held_for_an_instant_is_free(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process has it that asks the kernel the same question."""
    passing, staying = listen(backlog=False), listen(backlog=False)
    ports = port_of(passing), port_of(staying)
    monkeypatch.setattr(time, "sleep", lambda _: passing.close())
    assert busy_ports([("tcp", port) for port in ports]) == [("tcp", ports[1])]


def test_probing_leaves_nothing_behind() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    port = unused_port()
    assert [is_free(port) for _ in range(20)] == [True] * 20
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert sockets_on(port, "tcp") == ()


def test_a_port_this_process_may_not_bind_is_judged_by_its_listeners(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = listen(0)
    port = port_of(server)

    class Forbidden(socket.socket):
        def bind(self, _address: object, /) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    assert not is_free(port)
    server.close()
    assert is_free(port)


def test_the_listener_is_named(listen: Listen) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    server = listen(0)
    assert who_listens(port_of(server)) == f"{name}, process {os.getpid()}"
    udp = listen(0, kind=socket.SOCK_DGRAM)
    assert who_listens(port_of(udp), "udp") == f"{name}, process {os.getpid()}"
    port = port_of(server)
    server.close()
    assert who_listens(port) is None


LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


async def test_another_process_is_named(spawn: Spawn) -> None:
    child = spawn(LISTEN)
    assert child.stdout is not None
    port = int(await to_thread.run_sync(child.stdout.readline))
    holder = who_listens(port)
    assert holder is not None
    assert holder.endswith(f", process {child.pid}")


def test_a_process_one_may_not_look_into_is_named_by_its_user(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    server = listen(0)

    def forbidden(_path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", forbidden)
    assert who_listens(port_of(server)) == f"a process of user {pwd.getpwuid(os.getuid()).pw_name}"


def settings(folder: Path, local: str, reserved: str = "") -> Path:
    (folder / "ip_local_port_range").write_text(local)
    (folder / "ip_local_reserved_ports").write_text(reserved)
    return folder


@pytest.mark.parametrize(
    ("local", "reserved", "expected"),
    [
        ("32768\t60999\n", "\n", (32800, 39999)),
        ("49152 65535", "", None),
        ("32768 60999", "32768-39999", None),
        ("32768 60999", "8080,32768-32899,39000-50000", (32900, 38999)),
        ("35000 36000", "35000", (35001, 36000)),
        ("garbage", "", None),
    ],
)
def test_the_overlap_with_the_systems_own_range(
    tmp_path: Path, local: str, reserved: str, expected: tuple[int, int] | None
) -> None:
    assert ephemeral_overlap(settings=settings(tmp_path, local, reserved)) == expected


def test_a_chosen_range_is_compared_instead(tmp_path: Path) -> None:
    folder = settings(tmp_path, "32768 60999")
    assert ephemeral_overlap(PortRange(start=20000, end=29999), settings=folder) is None
    assert ephemeral_overlap(PortRange(start=60000, end=65000), settings=folder) == (60000, 60999)
    assert ephemeral_overlap(settings=tmp_path / "missing") is None


def test_the_command_keeps_what_was_reserved(tmp_path: Path) -> None:
    folder = settings(tmp_path, "32768 60999", "8080,9000-9010\n")
    assert reservation_command(settings=folder) == (
        "sudo sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9010,32800-39999"
    )
    assert reservation_command(settings=settings(tmp_path, "1 2")).endswith("=32800-39999")
