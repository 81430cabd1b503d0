"""A project as people have it: its file of `.nexus` untouched, an application that needs its database, its cache and its secrets."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import nexus
from nexus.errors import PortInUse
from nexus.models.instances import LABEL_REPOSITORY, LABEL_SERVICE, LABEL_WORKSPACE
from nexus.models.workspace import DESCRIPTION
from tests.engine.raw import RawEngine
from tests.requiring import do_without
from tests.workbench import Bench, git, leftovers

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]

FILE = Path(__file__).parents[1] / "config" / "fixtures" / "project.yaml"
SOURCES = Path(__file__).with_name("seed_project")
WEB, DATABASE, CACHE = 3000, 15432, 6379
API = 'require("http").createServer((_, reply) => reply.end(JSON.stringify("api"))).listen(5000)'


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The two secrets: the password of the database, and the key that the user has in a variable."""
    made = (f"pw{secrets.token_hex(8)}", f"sk{secrets.token_hex(8)}")
    monkeypatch.setenv("HANLUN_STRIPE_KEY", made[1])
    return made


@pytest.fixture
async def bench(
    home: Path, tmp_path: Path, engine: str, seed_images: tuple[str, ...], words: tuple[str, str]
) -> AsyncGenerator[Bench, None]:
    for port in (WEB, DATABASE):
        if not free(port):
            do_without("docker-seed", f"port {port}, which the project's file asks for, is taken on this machine")
    root = tmp_path / "hanlun-lms"
    shutil.copytree(SOURCES, root)
    shutil.copyfile(FILE, root / ".nexus" / "config.yaml")
    (root / ".gitignore").write_text("node_modules/\npackage-lock.json\n.nexus/secrets/\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    (root / ".nexus" / "secrets").mkdir()
    (root / ".nexus" / "secrets" / "db-password.txt").write_text(words[0] + "\n")
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text(
        f"workspaces: {{hanlun: {{path: {root}}}}}\n"
        "project_overrides: {hanlun: {secrets: {allow: [HANLUN_STRIPE_KEY]}}}\n"
    )
    made = Bench("docker", root, {"backends.docker.socket": engine})
    yield made
    async with made.open() as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)
    RawEngine(engine).remove_labelled(f"{LABEL_REPOSITORY}={root}")


async def test_the_project_runs_as_its_file_says(bench: Bench, engine: str, words: tuple[str, str]) -> None:
    raw, told, progress = RawEngine(engine), list[str](), list[str]()
    async with bench.open() as nx:
        nx.observe(lambda event: told.append(event.model_dump_json()))
        cache_is_free = free(CACHE)
        ws = await nx.create("hanlun", progress=lambda stage, text, *_: progress.append(f"{stage}: {text}"))
        assert (ws.info.status, ws.info.degraded) == ("running", None)
        assert {name: status.trouble for name, status in ws.services.items()} == {"postgres": None, "redis": None}

        # Web, database and cache answer where the file says; the application was installed, migrated and left running.
        assert ws.ports["web"].host_port == WEB
        page = await answer(WEB)
        assert page == {
            "courses": ["Algebra"],
            "visits": 1,
            "migrations": 1,
            "environment": "development",
            "image": "dockerfile",
            "secrets": [hashlib.sha256(word.encode()).hexdigest() for word in words],
        }
        assert await speaks_postgres(DATABASE)
        cache = ws.ports["redis"].host_port
        assert cache == CACHE or not (cache_is_free and free(CACHE))  # whoever holds it, or took it meanwhile
        assert await redis(cache, "GET visits") == "1"

        # Nothing listens behind the api at first. What begins to is reached by a port of the workspace's block, from this machine alone.
        api = ws.ports["api"]
        assert (api.container_port, api.visibility) == (5000, "private")
        assert 32800 <= api.host_port < 35000
        await ws.shell(f"node -e '{API}' >/dev/null 2>&1 &", check=True)
        assert await answer(api.host_port) == "api"
        bound = raw.container(own_container(raw, ws))["HostConfig"]["PortBindings"]
        assert {port: binding[0]["HostIp"] for port, binding in bound.items()} == {
            "3000/tcp": "",  # public
            "5000/tcp": "127.0.0.1",
            "5432/tcp": "127.0.0.1",
            "6379/tcp": "127.0.0.1",
        }
        assert (ws.info.display_name, nx.config.settings.workspace.name) == ("Hanlun Learning Platform", "hanlun-lms")
        assert ws.info.annotations[DESCRIPTION] == "Learning management system for schools"

        assert (ws.info.worktree_path / "node_modules" / "wire").is_symlink()
        assert "Setting up workspace..." in script_log(bench, "pre-start")
        assert "Workspace ready!" in script_log(bench, "post-start")

        # Four cores and 8G are asked for: no more cores are given, or said to be given, than the engine has.
        cores = float(raw.get("/info")["NCPU"])
        stats = await ws.stats()
        assert (stats.cpu_limit, stats.memory_limit) == (min(4.0, cores), 8 << 30)
        assert any("4 cores are asked for" in line for line in progress) == (cores < 4)

        no_secrets(bench, raw, ws, words)
        # The Dockerfile takes the whole project: not the secrets, nor what is kept there beside it, so that it is built once.
        copied = set((await ws.shell("cd /opt/sources && find . -type f", check=True)).stdout.split())
        files = {f"./{name}" for name in git(bench.repository, "ls-files").split()}
        assert copied == files
        built = [line for line in progress if line.startswith("image: building")]
        assert len(built) <= 1  # none where this engine has it from another run
        anonymous = volumes(raw, ws)
        assert len(anonymous) == 2  # the database's, which has a name, and the one that the cache's image wants

        assert (await post(WEB))["courses"] == ["Algebra", "Botany"]
        await ws.pause()
        assert "Workspace sleeping..." in script_log(bench, "on_sleep")
        await ws.resume()
        assert ((await answer(WEB))["visits"], await redis(cache, "GET migrations")) == (3, "2")

        await ws.stop()
        assert script_log(bench, "on_sleep").count("Workspace sleeping...") == 2
        assert free(WEB)
        assert free(DATABASE)
        await ws.start()
        page = await answer(WEB)
        assert page["courses"] == ["Algebra", "Botany"]

        # Another workspace needs ports of its own for those that are fixed; it has its own data. There and back again.
        with pytest.raises(PortInUse, match="in use by workspace 'hanlun'"):
            await nx.create("other")
        own = {"ports.web.host": None, "ports.database.host": None}
        other = await nx.create(
            "other", settings=own, progress=lambda stage, text, *_: progress.append(f"{stage}: {text}")
        )
        assert [line for line in progress if line.startswith("image: building")] == built
        assert (await answer(other.ports["web"].host_port))["courses"] == ["Algebra"]
        for name in ("hanlun", "other", "hanlun"):
            assert (await nx.switch(name)).warnings == ()
        assert (await other.status(), await ws.status()) == ("paused", "running")
        page = await answer(WEB)
        assert page["courses"] == ["Algebra", "Botany"]
        no_secrets(bench, raw, ws, words)
        await other.destroy()

        await ws.destroy()
        assert not any(raw.labelled(f"{LABEL_WORKSPACE}={ws.id}").values())
        left = {volume["Name"] for volume in raw.get("/volumes")["Volumes"] or ()}
        assert left.isdisjoint(anonymous)
    assert free(WEB)
    assert not any(word in text for word in words for text in told)
    assert await leftovers(bench) == []


def own_container(raw: RawEngine, ws: nexus.Workspace) -> str:
    """Return the workspace's own container, which has no service's name."""
    every = [raw.container(number) for number in raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]]
    return next(str(one["Id"]) for one in every if LABEL_SERVICE not in one["Config"]["Labels"])


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def answer(port: int, data: bytes | None = None) -> Any:
    """Return the page, which comes when the server that ``post-start`` left behind has begun to listen."""

    def ask() -> bytes | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=data, timeout=30) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode())
        except OSError:
            return None

    with anyio.fail_after(60):
        while (page := await anyio.to_thread.run_sync(ask)) is None:  # noqa: ASYNC110 - a server tells nobody that it listens
            await anyio.sleep(0.1)
    return json.loads(page)


async def post(port: int) -> Any:
    return await answer(port, b"")


async def speaks_postgres(port: int) -> bool:
    """Ask for TLS, as every client of PostgreSQL does first; the server says in one letter whether it has it."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(bytes.fromhex("0000000804d2162f"))
        return await stream.receive() in {b"N", b"S"}


async def redis(port: int, command: str) -> str:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"{command}\r\n".encode())
        return (await stream.receive()).decode().splitlines()[-1]


def script_log(bench: Bench, hook: str) -> str:
    logs = bench.repository / ".nexus" / "state" / "logs" / "hanlun"
    return "\n".join(path.read_text() for path in sorted(logs.iterdir()) if hook in path.name)


def volumes(raw: RawEngine, ws: nexus.Workspace) -> set[str]:
    """Return the volumes of a workspace's containers, those without a name of their own included."""
    mounts = [
        mount
        for number in raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]
        for mount in raw.container(number)["Mounts"]
    ]
    return {mount["Name"] for mount in mounts if mount["Type"] == "volume"}


def no_secrets(bench: Bench, raw: RawEngine, ws: nexus.Workspace, words: tuple[str, str]) -> None:
    """Assert that the engine, its logs and the files that are ours know neither secret."""
    seen: dict[str, bytes] = {}
    for number in raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]:
        described = raw.container(number)
        seen[described["Name"]] = json.dumps(described).encode()
        for exec_id in described.get("ExecIDs") or ():
            seen[exec_id] = json.dumps(raw.call("GET", f"/exec/{exec_id}/json")[1]).encode()
        log = raw.call("GET", f"/containers/{number}/logs?stdout=1&stderr=1")[1]
        seen[f"{number} log"] = log if isinstance(log, bytes) else b""
    original = bench.repository / ".nexus" / "secrets"
    for path in bench.repository.rglob("*"):
        if path.is_file() and not path.is_relative_to(original):
            seen[str(path)] = path.read_bytes()
    assert [where for where, text in seen.items() if any(word.encode() in text for word in words)] == []
    assert len(seen) > 20
