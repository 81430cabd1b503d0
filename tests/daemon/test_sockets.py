from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nexus.daemon.sockets import bind_tcp, bind_unix, handed_over, remove_unix
from nexus.errors import InvalidArgument, PortInUse, StateError


def test_a_socket_of_a_dead_daemon_is_replaced_and_its_path_may_be_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    bind_unix(deep, "nexus", "d.sock").close()
    with bind_unix(deep, "nexus", "d.sock"):
        path = deep / "nexus" / "d.sock"
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o600
    remove_unix(deep, "nexus", "d.sock")
    assert not path.exists()
    remove_unix(deep, "nexus", "d.sock")


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "nexus").mkdir(mode=0o700)
    (tmp_path / "nexus" / "d.sock").write_text("mine")

    with pytest.raises(StateError, match="it is no socket"):
        bind_unix(tmp_path, "nexus", "d.sock")

    assert (tmp_path / "nexus" / "d.sock").read_text() == "mine"


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / "nexus").symlink_to(tmp_path / "theirs")

    with pytest.raises(StateError, match="symbolic link"):
        bind_unix(tmp_path, "nexus", "d.sock")

    assert not list((tmp_path / "theirs").iterdir())


def test_a_link_in_place_of_the_socket_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "nexus").mkdir(mode=0o700)
    (tmp_path / "nexus" / "d.sock").symlink_to(tmp_path / "target")

    with pytest.raises(StateError, match="it is no socket"):
        bind_unix(tmp_path, "nexus", "d.sock")

    assert not (tmp_path / "target").exists()


def test_an_open_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nexus").mkdir()
    (tmp_path / "nexus").chmod(0o755)

    with pytest.raises(StateError, match="open to other users"):
        bind_unix(tmp_path, "nexus", "d.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nexus").mkdir(mode=0o700)
    os.chown(tmp_path / "nexus", 12345, 12345)

    with pytest.raises(StateError, match="uid 12345"):
        bind_unix(tmp_path, "nexus", "d.sock")


def test_a_port_that_is_taken() -> None:
    with bind_tcp("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortInUse, match=f"127.0.0.1 port {port}: another program does"):
            bind_tcp("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot listen on"):
        bind_tcp(host, 0)


PROGRAM = """
import os, sys
from nexus.daemon.sockets import handed_over
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "mine" else "1"
taken = handed_over(os.environ)
print([(s.family.name, os.get_inheritable(s.fileno())) for s in taken], "LISTEN_FDS" in os.environ)
"""


@pytest.mark.parametrize(("whose", "said"), [("mine", "[('AF_UNIX', False)] False"), ("theirs", "[] False")])
def test_a_socket_that_systemd_hands_over(tmp_path: Path, whose: str, said: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        assert _run(listening, whose) == said


def test_what_is_handed_over_has_to_be_listened_on() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert "no stream socket that is listened on" in _run(one, "mine")


@pytest.mark.parametrize("count", ["", "-1", "x", "0", "²"])
def test_nonsense_hands_over_nothing(count: str) -> None:
    assert handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}) == ()


def _run(given: socket.socket, whose: str) -> str:
    """Start a program that finds a socket as its descriptor 3."""
    shell = f'exec 3<&{given.fileno()}; exec "$0" -c "$1" {whose}'
    done = subprocess.run(
        ["/bin/bash", "-c", shell, sys.executable, PROGRAM],
        pass_fds=[given.fileno()],
        env={**os.environ, "LISTEN_FDS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout or done.stderr).strip()
