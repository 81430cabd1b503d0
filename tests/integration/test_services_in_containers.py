"""Services of docker workspaces, with a real PostgreSQL and a real Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import yaml

import nexus
from nexus.errors import ServiceNotFound
from nexus.models.instances import LABEL_REPOSITORY, LABEL_WORKSPACE
from tests.engine.raw import RawEngine
from tests.workbench import Bench, git, leftovers

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(240)]

DATABASE = "postgres://postgres@localhost:5432/hanlun_dev"
CACHE = "redis://localhost:6379"
PROJECT = f"""\
env:
  DATABASE_URL: {DATABASE}
  REDIS_URL: {CACHE}
services:
  postgres:
    image: IMAGE
    entrypoint: [start-postgres]
    user: postgres
    ports: ["5432:5432"]
    env: {{POSTGRES_DB: hanlun_dev, PGDATA: /var/lib/postgresql/data}}
    volumes: ["postgres-data:/var/lib/postgresql/data", "./seed:/seed:ro"]
    healthcheck: {{test: pg_isready -h 127.0.0.1 -U postgres, interval: 1s}}
    restart: unless-stopped
  redis:
    image: IMAGE
    user: redis
    command: [redis-server, --dir, /var/lib/redis, --appendonly, "yes", --protected-mode, "no"]
    working_dir: /var/lib/redis
    ports: ["6379:6379"]
    volumes: ["redis-data:/var/lib/redis"]
  migrate:
    image: IMAGE
    user: postgres
    command: psql -v ON_ERROR_STOP=1 -f /seed/tables.sql {DATABASE.replace("localhost", "postgres")}
    volumes: ["./seed:/seed:ro"]
    depends_on: {{postgres: {{condition: service_healthy}}}}
  worker:
    image: IMAGE
    command: echo ready; exec sleep 100000
    depends_on: {{migrate: {{condition: service_completed_successfully}}, redis: {{condition: service_started}}}}
"""


@pytest.fixture
def bench(repository: Path, engine: str, service_image: str) -> Bench:
    (repository / ".nexus").mkdir()
    (repository / ".nexus" / "config.yaml").write_text(PROJECT.replace("IMAGE", service_image))
    (repository / "seed").mkdir()
    (repository / "seed" / "tables.sql").write_text("CREATE TABLE IF NOT EXISTS notes (id serial, text text);\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "services")
    flags = {"backend": "docker", "backends.docker.socket": engine, "image": service_image}
    return Bench("docker", repository, dict(flags))


async def sql(ws: nexus.Workspace, statement: str) -> str:
    """Ask the database as the application would: by the variable of the environment."""
    done = await ws.shell(f'psql -tA -c "{statement}" "$DATABASE_URL"', timeout=60)
    assert done.ok, done.output
    return done.stdout.strip()


async def cache(ws: nexus.Workspace, words: str) -> str:
    done = await ws.shell(f'redis-cli -u "$REDIS_URL" {words}', timeout=60)
    assert done.ok, done.output
    return done.stdout.strip()


async def read_all(ws: nexus.Workspace, service: str) -> str:
    return b"".join([chunk async for chunk in ws.logs(service=service)]).decode()


async def test_an_application_works_with_its_database_and_cache_all_life_long(bench: Bench, engine: str) -> None:
    raw = RawEngine(engine)
    async with bench.open() as nx, AsyncExitStack() as cleanup:
        ws = await nx.create("shop")
        cleanup.push_async_exit(remove_on_failure(raw, nx))

        assert {name: status.trouble for name, status in ws.services.items()} == dict.fromkeys(
            ("postgres", "redis", "migrate", "worker")
        )
        assert ws.services["postgres"].health == "healthy"
        assert ws.services["migrate"].exit_code == 0

        # Written by the application, by the URLs of its environment; names mean the same as localhost, between services too.
        await sql(ws, "INSERT INTO notes (text) VALUES ('kept')")
        assert await cache(ws, "SET greeting hello") == "OK"
        assert (await ws.exec("redis-cli", "-h", "redis", "GET", "greeting")).stdout.strip() == "hello"
        asked = await ws.exec("redis-cli", "-h", "redis", "GET", "greeting", service="worker")
        assert asked.stdout.strip() == "hello"
        assert (await ws.exec("id", "-un", service="redis")).stdout.strip() == "redis"
        assert (await read_all(ws, "worker")).strip() == "ready"
        with pytest.raises(ServiceNotFound, match="no service 'mysql'"):
            await ws.exec("true", service="mysql")

        # From the host, by the ports that the workspace has under the services' names.
        port = ws.ports["redis"]
        assert port.container_port == 6379
        async with await anyio.connect_tcp("127.0.0.1", port.host_port) as outside:
            await outside.send(b"GET greeting\r\n")
            assert await outside.receive() == b"$5\r\nhello\r\n"
        bindings = raw.container(nx_handle(raw, ws))["HostConfig"]["PortBindings"]
        assert bindings["6379/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port.host_port)}]

        # A second workspace of the same project, at the same time, with data of its own.
        other = await nx.create("other")
        assert other.ports["redis"].host_port != port.host_port
        assert await cache(other, "GET greeting") == ""
        assert await sql(other, "SELECT count(*) FROM notes") == "0"
        await nx.switch("shop")
        slept = await nx.switch("other")
        assert slept.warnings == ()
        frozen = states(raw, ws)
        assert frozen == {
            "": "paused",
            "postgres": "paused",
            "redis": "paused",
            "worker": "paused",
            "migrate": "exited",
        }
        await nx.switch("shop")
        assert await cache(ws, "GET greeting") == "hello"

        await ws.pause()
        assert ws.info.status == "paused"
        await ws.resume()
        assert await sql(ws, "SELECT text FROM notes") == "kept"

        await ws.stop()
        assert set(states(raw, ws).values()) == {"exited"}
        assert ws.services["redis"].state == "exited"
        # A changed definition holds from the next start. Whoever works in the tree can put a link where a service mounts a
        # folder: it leads to nothing of this machine.
        (ws.info.worktree_path / "peek").symlink_to("/etc")
        change(bench, "worker", command="ls /peek/; exec sleep 100000", volumes=["./peek:/peek"])
    async with bench.open() as nx, AsyncExitStack() as cleanup:
        cleanup.push_async_callback(remove_all, raw, nx)
        ws, other = await nx.attach("shop"), await nx.attach("other")
        await ws.start()
        seen = (await read_all(ws, "worker")).split()
        assert "passwd" in seen
        assert set(seen).isdisjoint(outer_only())
        assert await sql(ws, "SELECT text FROM notes") == "kept"
        assert await cache(ws, "GET greeting") == "hello"
        await ws.stop()
        raw.call("DELETE", f"/containers/{nx_handle(raw, ws)}?force=1")
        await ws.start()  # its place is made again, and so are its services, on the new network
        assert await sql(ws, "SELECT text FROM notes") == "kept"

        # The restart policy is the engine's; without one a service that dies shows, and the next start brings it back.
        raw.call("POST", f"/containers/{container(raw, ws, 'worker')}/kill")
        info = await ws.refresh()
        assert info.status == "running"
        assert info.degraded == "service 'worker' ended with status 137"
        assert (await ws.start()).status_message is None

        # A container started again by hand has a new network: the services follow at the next start.
        raw.call("POST", f"/containers/{nx_handle(raw, ws)}/restart?t=1", timeout=60)
        await ws.start()
        assert await cache(ws, "GET greeting") == "hello"

        kept = await ws.destroy(force=True, keep_volumes=True)
        assert kept.kept_volumes == (f"nexus-{ws.id}-postgres-data", f"nexus-{ws.id}-redis-data")
        left = raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")
        assert (left["containers"], left["networks"], sorted(left["volumes"])) == ([], [], sorted(kept.kept_volumes))
        assert {
            (each.kind, each.action) for each in await nx.prune(older_than=3600) if each.name in kept.kept_volumes
        } == {("volume", "kept")}
        removed = [each.name for each in await nx.prune(older_than=0.0) if each.kind == "volume"]
        assert removed == sorted(kept.kept_volumes)
        await other.destroy(force=True)
        for gone in (ws, other):
            assert not any(raw.labelled(f"{LABEL_WORKSPACE}={gone.id}").values())
    assert await leftovers(bench) == []


def change(bench: Bench, service: str, **fields: object) -> None:
    """Change a service in the project's file."""
    path = bench.repository / ".nexus" / "config.yaml"
    content = yaml.safe_load(path.read_text())
    content["services"][service] |= fields
    path.write_text(yaml.safe_dump(content))


def outer_only() -> set[str]:
    """Names in this machine's /etc that no small image has."""
    return {path.name for path in Path("/etc").iterdir()} - {
        "passwd",
        "group",
        "hosts",
        "hostname",
        "resolv.conf",
        "mtab",
    }


async def remove_all(raw: RawEngine, nx: nexus.WorkspaceManager) -> None:
    """Leave nothing on the shared engine, however the test ended."""
    for entry in await nx.list():
        await nx.destroy(entry.name, force=True)
    raw.remove_labelled(f"{LABEL_REPOSITORY}={nx.repository.root}")


def remove_on_failure(raw: RawEngine, nx: nexus.WorkspaceManager) -> Callable[..., Awaitable[bool]]:
    async def leave(kind: type[BaseException] | None, error: object, trace: object) -> bool:
        if kind is not None:
            await remove_all(raw, nx)
        return False

    return leave


def nx_handle(raw: RawEngine, ws: nexus.Workspace) -> str:
    """Return the id of the workspace's own container."""
    return next(
        number
        for number in raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]
        if "dev.nexus.service" not in raw.container(number)["Config"]["Labels"]
    )


def states(raw: RawEngine, ws: nexus.Workspace) -> dict[str, str]:
    found = [raw.container(number) for number in raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]]
    return {one["Config"]["Labels"].get("dev.nexus.service", ""): one["State"]["Status"] for one in found}


def container(raw: RawEngine, ws: nexus.Workspace, service: str) -> str:
    for number in raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]:
        if raw.container(number)["Config"]["Labels"].get("dev.nexus.service") == service:
            return number
    raise LookupError(service)
