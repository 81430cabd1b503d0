"""Engines that are absent, forbidden, silent, too old, too new, or that crash."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from nexus.errors import ConfigError, ProviderForbidden, ProviderUnavailable, WrongLoop
from nexus.models.ids import NodeId, new_workspace_id, parse_name
from nexus.models.instances import InstanceRef, InstanceSpec, InstanceState
from nexus.providers.docker.client import TURNS, Engine
from nexus.providers.docker.endpoint import parse_address
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.provider import DockerProvider
from nexus.testing.engines import PrivateEngine, why_not
from nexus.testing.images import rootfs
from tests.engine.driving import command, drain, read_until, run
from tests.engine.fixtures import TEST_IMAGE
from tests.engine.raw import RawEngine
from tests.requiring import do_without


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="nxt-") as name:
        yield Path(name)


@asynccontextmanager
async def standing_in(path: Path, answers: dict[str, object] | None) -> AsyncGenerator[str, None]:
    """Listen on a socket like an engine of another kind: with these answers, or with none at all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if answers is None:
            await reader.read()  # until the client gives up
        else:
            target = asked.split(b" ")[1].decode().rsplit("/", 1)[-1]
            body = json.dumps(answers.get(target, {})).encode()
            status = "200 OK" if target in answers else "404 Not Found"
            spoken = f"Api-Version: {answers[target]}\r\n" if target == "_ping" and target in answers else ""
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{spoken}Content-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield f"unix://{path}"
    finally:
        server.close()
        await server.wait_closed()


def _spec(tree: Path) -> InstanceSpec:
    return InstanceSpec(
        id=new_workspace_id(),
        name=parse_name("trouble"),
        node=NodeId("trouble"),
        worktree=tree,
        workdir="/",
        image=TEST_IMAGE,
    )


async def test_no_engine_is_said_with_a_next_step(folder: Path) -> None:
    async with DockerProvider({"socket": str(folder / "absent")}, env={}) as provider:
        info = await provider.probe()
        instance = await provider.attach(InstanceRef(id=new_workspace_id(), handle="abc"))
        status = await instance.status()

        assert not info.available
        assert str(folder / "absent") in info.detail
        assert info.hint is not None
        assert "local" in info.hint
        assert status.state is InstanceState.UNKNOWN
        for act in (instance.start, instance.stop, lambda: instance.spawn(command("ls")), provider.list):
            with pytest.raises(ProviderUnavailable):
                await act()
        with pytest.raises(ProviderUnavailable):
            await provider.prepare(_spec(folder))


async def test_a_socket_nobody_listens_on(folder: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "s"))
    async with DockerProvider({"socket": str(folder / "s")}, env={}) as provider:
        info = await provider.probe()

    assert (info.available, "no container engine listens" in info.detail) == (False, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights for a moment")
async def test_a_socket_this_user_may_not_use(folder: Path) -> None:
    await asyncio.to_thread(folder.chmod, 0o755)
    async with standing_in(folder / "s", {}) as address:
        await asyncio.to_thread((folder / "s").chmod, 0o600)
        os.seteuid(65534)
        try:
            async with DockerProvider({"socket": address}, env={}) as provider:
                info = await provider.probe()
                with pytest.raises(ProviderForbidden) as caught:
                    await provider.list()
        finally:
            os.seteuid(0)

    assert not info.available
    assert "may not use" in info.detail
    assert "docker" in str(info.hint)
    assert isinstance(caught.value, PermissionError)


async def test_an_engine_that_does_not_answer_is_given_up(folder: Path) -> None:
    async with standing_in(folder / "s", None) as address, DockerProvider({"socket": address}, env={}) as provider:
        with anyio.fail_after(50):
            info = await provider.probe()

    assert not info.available
    assert "did not" in info.detail


async def test_more_than_the_engine_gets_done_at_once_take_turns(folder: Path) -> None:
    there, most, done = 0, 0, 0
    full = asyncio.Event()
    answers: dict[str, object] = {"version": {"Version": "20.10.24", "ApiVersion": "1.43", "MinAPIVersion": "1.12"}}
    async with standing_in(folder / "s", answers) as host:
        engine = await Engine(parse_address(host, origin="this test")).open()

        async def call() -> None:
            nonlocal there, most, done
            async with engine.busy_door("make one", deadline=30.0):
                there += 1
                most = max(most, there)
                if there == TURNS:
                    full.set()
                await full.wait()
                there -= 1
                done += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(3 * TURNS):
                group.create_task(call())
        await engine.close()
    assert (most, done) == (TURNS, 3 * TURNS)


@pytest.mark.parametrize(
    ("newest", "oldest", "words"), [("1.40", "1.12", "too old"), ("1.99", "1.90", "too new"), ("x", "y", "too old")]
)
async def test_an_engine_of_another_age(folder: Path, newest: str, oldest: str, words: str) -> None:
    version = {"Version": "99.0", "ApiVersion": newest, "MinAPIVersion": oldest}
    async with (
        standing_in(folder / "s", {"version": version}) as address,
        DockerProvider({"socket": address}, env={}) as provider,
    ):
        info = await provider.probe()
        with pytest.raises(ProviderUnavailable, match=words):
            await provider.list()

    assert not info.available
    assert words in info.detail
    assert "update" in str(info.hint)


async def test_an_engine_is_asked_for_its_version_again_when_it_speaks_another(folder: Path) -> None:
    answers: dict[str, object] = {"version": {"Version": "20.1", "ApiVersion": "1.41"}, "_ping": "1.41"}
    async with standing_in(folder / "socket", answers) as address:
        engine = await Engine(parse_address(address, origin="this test")).open()
        try:
            assert (await engine.known_version()).version == "20.1"
            answers["version"] = {"Version": "20.2", "ApiVersion": "1.43"}
            assert (await engine.known_version()).version == "20.1"
            answers["_ping"] = "1.43"
            assert (await engine.known_version()).version == "20.2"
            del answers["_ping"]
            assert (await engine.known_version()).api_version == "1.43"
        finally:
            await engine.close()


async def test_an_engine_that_talks_nonsense(folder: Path) -> None:
    async with (
        standing_in(folder / "s", {"version": ["not", "a", "version"]}) as address,
        DockerProvider({"socket": address}, env={}) as provider,
    ):
        info = await provider.probe()

    assert not info.available
    assert "cannot be understood" in info.detail


@pytest.mark.docker
async def test_another_storage_driver_than_the_one_set(engine: str, tmp_path: Path) -> None:
    async with DockerProvider({"socket": engine, "storage_driver": "no-such-driver"}, env={}) as provider:
        info = await provider.probe()
        with pytest.raises(ConfigError, match="no-such-driver"):
            await provider.prepare(_spec(tmp_path))

    assert not info.available


async def test_use_before_opening_and_on_another_loop(folder: Path) -> None:
    provider = DockerProvider({"socket": str(folder / "s")}, env={})
    with pytest.raises(WrongLoop):
        await provider.probe()
    async with provider:
        with pytest.raises(WrongLoop):
            await asyncio.to_thread(asyncio.run, provider.list())
    with pytest.raises(WrongLoop):
        await provider.list()


def test_a_refusal_survives_pickling() -> None:
    refusal = pickle.loads(pickle.dumps(EngineRefused("start", status=500, text="no")))

    assert (refusal.status, refusal.text, refusal.code) == (500, "no", "PROVIDER_ERROR")


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_an_engine_that_crashes_and_comes_back(tmp_path: Path) -> None:
    reason = why_not(own_network=True)
    if reason is not None:
        do_without("docker", reason)
    private = PrivateEngine(own_network=True, in_memory=True)
    try:
        await asyncio.to_thread(private.start)
        raw = RawEngine(private.address)
        root = Path(raw.get("/info")["DockerRootDir"])
        await asyncio.to_thread(raw.import_image, rootfs(), TEST_IMAGE)
        async with DockerProvider({"socket": private.address}, env={}) as provider:
            instance = await provider.create(_spec(tmp_path))
            await instance.start()
            process = await instance.spawn(command("sh", "-c", "echo up; sleep 100"))
            await read_until(process, b"up\n")

            await asyncio.to_thread(private.kill)
            end = (await drain(process)).end
            down = await instance.status()
            probed = await provider.probe()
            await asyncio.to_thread(private.start)
            back = await instance.status()
            await instance.start()
            again = await run(instance, "echo", "again")
            await provider.destroy(instance.ref)
            gone = await instance.status()
    finally:
        await asyncio.to_thread(private.remove)

    assert not root.parent.exists()
    assert end.lost
    assert end.exit_code is None
    assert (down.state, probed.available) == (InstanceState.UNKNOWN, False)
    assert back.state is InstanceState.STOPPED
    assert "engine" in back.detail or back.detail == ""
    assert again.out == b"again\n"
    assert gone.state is InstanceState.GONE
