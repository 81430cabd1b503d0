"""Services of local workspaces: supervised processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import ServiceFailed, Unsupported
from nexus.providers.local.keeper import tree
from tests.workbench import Bench, configure, leftovers

pytestmark = pytest.mark.slow

SERVER = "import os, http.server as h; h.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), h.BaseHTTPRequestHandler).serve_forever()"


@pytest.fixture
def bench(repository: Path) -> Bench:
    return Bench("local", repository, {"backend": "local"}, approve=lambda _: True)


async def until(question: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(30):
        while not await question():  # noqa: ASYNC110 - what is asked is outside and rings no bell
            await anyio.sleep(0.05)


async def lines(ws: nexus.Workspace, service: str) -> list[str]:
    return b"".join([chunk async for chunk in ws.logs(service=service)]).decode().splitlines()


async def test_a_command_is_supervised_all_life_long(bench: Bench) -> None:
    """Started in order and when it answers, told its port, frozen, ended in order, started again, gone with its workspace."""
    configure(
        bench.repository,
        f"""\
env: {{GREETING: hello}}
services:
  web:
    command: [{sys.executable}, -c, "{SERVER}"]
    ports: ["8000"]
    restart: on-failure
  flaky:
    command: 'echo "$GREETING $OWN from $$"; while test -e go; do sleep 0.05; done; exit 3'
    env: {{OWN: there}}
    working_dir: /workspace/src
    restart: "on-failure:1"
    healthcheck: {{test: test -e ready}}
  last:
    command: 'echo order $(cat ready); trap "echo bye; exit 0" TERM; while :; do sleep 0.05; done'
    working_dir: /workspace/src
    depends_on: {{flaky: {{condition: service_healthy}}, web: {{condition: service_started}}}}
""",
    )
    async with bench.open() as nx:
        ws = await nx.create("try", start=False)
        src = ws.info.worktree_path / "src"
        (src / "ready").write_text("two")
        (src / "go").touch()
        await ws.start()
        assert {name: (status.state, status.health) for name, status in ws.services.items()} == {
            "web": ("running", None),
            "flaky": ("running", "healthy"),
            "last": ("running", None),
        }
        assert await lines(ws, "last") == ["order two"]
        port = ws.ports["web"].host_port
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.0 501")
        inside = await ws.exec("sh", "-c", 'echo "$OWN" "$PWD"', service="flaky")
        assert inside.stdout.split() == ["there", str(src)]

        await ws.pause()
        await ws.refresh()
        assert {str(status.state) for status in ws.services.values()} == {"paused"}
        await ws.resume()
        await ws.refresh()
        assert {str(status.state) for status in ws.services.values()} == {"running"}

        # It ends by itself: started again once, as its policy says, and then it shows.
        (src / "go").unlink()

        async def degraded() -> bool:
            return (await ws.refresh()).degraded == "service 'flaky' ended with status 3"

        await until(degraded)
        log = await lines(ws, "flaky")
        assert [line.partition(" from ")[0] for line in log if "from" in line] == ["hello there"] * 2
        assert len([line for line in log if "ended with status 3" in line]) == 2

        # A service that is killed comes back when its policy says so; starting the workspace mends what does not.
        (src / "go").touch()
        victim = next(
            each for each in tree.marked(f"NEXUS_WORKSPACE_ID={ws.id}".encode()) if names(each.pid, "http.server")
        )
        os.kill(victim.pid, 9)
        await ws.start()

        async def answers() -> bool:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return True
            except OSError:
                return False

        await until(answers)
        assert (await ws.refresh()).status_message is None

        await ws.stop()
        assert "bye" in await lines(ws, "last")
        assert tree.marked(f"NEXUS_WORKSPACE_ID={ws.id}".encode()) == []
        await ws.start()
        assert ws.info.status_message is None
        await ws.destroy(force=True)
        assert tree.marked(f"NEXUS_WORKSPACE_ID={ws.id}".encode()) == []
    assert await leftovers(bench) == []


def names(pid: int, text: str) -> bool:
    return (
        text in Path(f"/proc/{pid}/cmdline").read_text()
        and "supervisor" not in Path(f"/proc/{pid}/cmdline").read_text()
    )


AFTER = "{bad: {condition: service_completed_successfully}}"


@pytest.mark.parametrize(
    ("service", "error", "said"),
    [
        ("{command: 'echo it broke >&2; exit 5', restart: 'no'}", "ended with status 5; it printed last", "it broke"),
        ("{command: [no-such-program]}", "could not be started: no-such-program", ""),
        (
            "{command: 'echo alive; sleep 1000', healthcheck: {test: 'exit 1', interval: 50ms, retries: 2, start_period: 0s}}",
            "is unhealthy",
            "alive",
        ),
    ],
)
async def test_a_service_that_fails_fails_the_start_and_says_why(
    bench: Bench, service: str, error: str, said: str
) -> None:
    configure(bench.repository, f"services: {{good: {{command: sleep 1000, depends_on: {AFTER}}}, bad: {service}}}\n")
    async with bench.open() as nx:
        with pytest.raises(ServiceFailed, match=error) as raised:
            await nx.create("try")
        assert raised.value.service == "bad"
        assert not said or said in raised.value.log_tail
        assert raised.value.code == "SERVICE_FAILED"
        ws = await nx.create("try", start=False)
        with pytest.raises(ServiceFailed):
            await ws.start()
        assert (await ws.refresh()).status == "error"
        assert tree.marked(f"NEXUS_WORKSPACE_ID={ws.id}".encode()) == []
        await ws.destroy()
    assert await leftovers(bench) == []


@pytest.mark.parametrize(
    ("backend", "service", "reason"),
    [
        ("local", "{image: 'postgres:16'}", "'one' has no command, and there are no images on the local backend"),
        ("local", "{command: x, volumes: ['data:/data']}", "'one' has volumes, and there are no mounts"),
        ("mock", "{image: 'postgres:16'}", "the mock backend cannot run services"),
    ],
)
async def test_what_a_backend_cannot_run_is_refused_before_anything_is_made(
    bench: Bench, backend: str, service: str, reason: str
) -> None:
    configure(bench.repository, f"services: {{one: {service}}}\n")
    async with bench.open(backend=backend) as nx:
        with pytest.raises(Unsupported, match=reason) as raised:
            await nx.create("try")
        assert "--set services." in (raised.value.hint or "")
        async with nx.create("try", settings={"services.one": None}) as ws:
            assert ws.services == {}
    assert await leftovers(bench) == []
