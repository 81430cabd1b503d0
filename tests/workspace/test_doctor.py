"""``doctor`` on a healthy machine has nothing to complain of, and a backend that never answers costs it one short wait."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import anyio
import pytest

from nexus.models.findings import Finding
from nexus.models.instances import ProviderInfo
from nexus.ports import ephemeral_overlap
from nexus.providers.mock import MockProvider
from nexus.providers.registry import ProviderRegistry
from nexus.workspace import doctor
from tests.workbench import Bench, make_bench


@pytest.fixture
def local(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    bench = make_bench("local", repository, tmp_path, request)
    # Where nothing listens: whether this machine has an engine must not matter.
    bench.extra = {"backends.docker.socket": str(tmp_path / "no-engine")}
    return bench


@pytest.fixture
def silent_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[int]]]:
    """An engine that takes every connection and never says a word; and how many it took."""
    path = tmp_path_factory.mktemp("s") / "s"
    taken: list[socket.socket] = []
    counted: list[int] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return
                counted.append(1)

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield f"unix://{path}", counted
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def complaints(found: tuple[Finding, ...]) -> list[str]:
    return [f"{finding.check}: {finding.message}" for finding in found if finding.level in {"warning", "error"}]


async def test_a_healthy_machine_has_nothing_to_complain_of(local: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT", 60.0)  # healthy, and perhaps busy
    async with local.open() as nx:
        assert complaints(await nx.doctor()) == []
        ws = await nx.create("a")
        await ws.fs.write_text("idea.txt", "precious\n")
        found = {finding.check: finding for finding in await nx.doctor()}
        assert complaints(tuple(found.values())) == []
        assert found["backend docker"].level == "info"
        assert found["backend local"].level == "ok"
        assert found["registry"].level == "ok"
        await ws.destroy(force=True)


async def test_one_backend_does_not_wait_for_another(local: Bench) -> None:
    asked = anyio.Event()

    class Slow(MockProvider):
        async def __aenter__(self) -> Self:
            await asked.wait()
            return await super().__aenter__()

    class Quick(MockProvider):
        async def probe(self) -> ProviderInfo:
            asked.set()
            return await super().probe()

    local.providers = ProviderRegistry({"a-slow": Slow, "b-quick": Quick})
    async with local.open() as nx:
        slow, quick, *_ = await doctor.probe_all(nx._open)
    assert (slow.available, quick.available) == (True, True)


async def test_a_backend_that_is_missing_is_wrong_only_where_it_is_used(local: Bench) -> None:
    async with local.open(backend="docker") as nx:
        found = {finding.check: finding for finding in await nx.doctor()}
        assert found["backend docker"].level == "error"
        assert "new workspaces" in found["backend docker"].message
        assert found["backend docker"].hint


@pytest.mark.skipif(ephemeral_overlap() is None, reason="the system keeps its own ports clear of ours here")
async def test_ports_the_system_may_take_are_wrong_only_where_they_cannot_be_replaced(local: Bench) -> None:
    overlap = ephemeral_overlap()
    assert overlap is not None
    async with local.open() as nx:
        (told,) = [finding for finding in await nx.doctor() if finding.check == "ports"]
        assert told.level == "info"
        assert "net.ipv4.ip_local_reserved_ports" in str(told.hint)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        ws = await nx.create("a", start=False, settings={"ports.web.container": 3000, "ports.web.host": port})
        (told, _) = [finding for finding in await nx.doctor() if finding.check == "ports"]
        assert told.level == "warning"
        assert f"{port} of 'a'" in told.message
        await ws.destroy()


async def test_an_engine_that_never_answers_is_waited_for_once(
    local: Bench, silent_engine: tuple[str, list[int]]
) -> None:
    address, counted = silent_engine
    async with local.open() as nx:
        await nx.create("a", start=False)
        record = await nx._open.store.load("a")
        await nx._open.store.save(record.model_copy(update={"backend": "docker"}))
    async with local.open(**{"backends.docker.socket": address}) as nx:
        for fix in (False, True):
            before = len(counted)
            with anyio.fail_after(60):
                found = await nx.doctor(fix=fix)
            assert any(
                line.startswith("backend docker") and "1 of the workspaces" in line for line in complaints(found)
            )
            assert len(counted) - before <= 2
        await nx._open.store.save(record)
        await nx.destroy("a")


async def test_a_tree_that_was_moved_is_not_called_deleted(local: Bench, tmp_path: Path) -> None:
    async with local.open() as nx:
        ws = await nx.create("a", start=False)
        tree = ws.info.worktree_path
        shutil.move(tree, tmp_path / "elsewhere")
        (told,) = complaints(await nx.doctor())
        assert "moved or deleted" in told
        shutil.move(tmp_path / "elsewhere", tree)
        assert complaints(await nx.doctor()) == []
        await ws.destroy()


@pytest.mark.parametrize(("backend", "told"), [("local", True), ("mock", False)])
async def test_a_switch_that_is_to_keep_what_its_backend_cannot_is_told(
    backend: str, told: bool, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench(backend, repository, tmp_path, request)
    async with bench.open(**{"defaults.switch": "checkpoint"}) as nx:
        found = [each for each in await nx.doctor() if "defaults.switch is checkpoint" in each.message]
    assert [(each.check, each.level) for each in found] == ([(f"backend {backend}", "info")] if told else [])
    assert all("CRIU" in (each.hint or "") for each in found)
