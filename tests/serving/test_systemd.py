"""The unit files of the how-to, carried out as far as that goes without systemd: sockets handed over, readiness told."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio import to_thread

from tests.serving.conftest import Daemons

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "run-the-daemon.md").read_text()


def unit(kind: str) -> configparser.ConfigParser:
    found = re.search(rf"`[^`\n]*\.{kind}`:\n\n```ini\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign] # as its documentation says
    parser.read_string(found[1])
    return parser


@contextmanager
def systemd(daemons: Daemons, *listening: socket.socket) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Do what systemd does for the units: run ExecStart with sockets from descriptor 3 on, and listen for READY."""
    service = unit("service")["Service"]
    program, *words = shlex.split(service["ExecStart"].replace("%h/code/app", str(daemons.root)))
    assert program.endswith("/boulder")
    places = [f"{number}<&{given.fileno()}" for number, given in enumerate(listening, start=3)]
    shell = f'exec {" ".join(places)}; LISTEN_PID=$$ exec "$@"' if places else 'exec "$@"'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        address = f"\0nexus-test-{os.getpid()}-{id(daemons)}"
        notified.bind(address)
        notified.settimeout(50)
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "bash", sys.executable, "-m", "cli_example", "--backend", "local", *words],
            pass_fds=[given.fileno() for given in listening],
            env={
                **daemons.env,
                "LISTEN_FDS": str(len(listening)),
                "LISTEN_FDNAMES": "x",
                "NOTIFY_SOCKET": "@" + address[1:],
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process, notified
        finally:
            process.kill()
            process.communicate()


@pytest.mark.slow
async def test_the_units_of_the_how_to(daemons: Daemons) -> None:
    service, ours = unit("service")["Service"], unit("socket")["Socket"]
    assert (service["Type"], service["KillMode"]) == ("notify", "process")
    assert (ours["SocketMode"], ours["DirectoryMode"]) == ("0600", "0700")
    path = Path(os.environ["XDG_RUNTIME_DIR"], "app.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with systemd(daemons, listening) as (process, notified):
            assert b"READY=1" in await to_thread.run_sync(notified.recv, 1000)
            found = daemons.announced()
            assert found is not None
            assert (found.pid, found.socket, found.url) == (process.pid, path, None)
            assert not daemons.places.socket.exists()
            async with daemons.talking(found) as client:
                assert client.subject == "local"
                assert (await client.call("daemon.info"))["repository"] == str(daemons.root)
                script = 'echo "<$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES>"'
                await client.call("workspace.create", spec={"name": "a"})
                ran = await client.call("exec.run", workspace="a", argv=["sh", "-c", script])
                assert ran["stdout"]["text"] == "<>\n"
                await client.call("workspace.destroy", workspace="a", force=True)
            reload = shlex.split(service["ExecReload"].replace("$MAINPID", str(process.pid)))
            subprocess.run(reload, check=True)
            await daemons.logged("the settings were read again")
            process.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in await to_thread.run_sync(notified.recv, 1000)
            _, shown = await to_thread.run_sync(process.communicate)
            assert process.returncode == 0
            assert "serving" in shown.decode()
            assert found.token not in shown.decode()
    assert path.exists()  # it is systemd's


@pytest.mark.slow
async def test_a_second_one_says_who_is_there(daemons: Daemons) -> None:
    async with daemons.here():
        with systemd(daemons) as (process, _):
            _, shown = await to_thread.run_sync(process.communicate)
    assert process.returncode == 5
    assert f"runs already: process {os.getpid()}" in shown.decode()
    assert "Traceback" not in shown.decode()
