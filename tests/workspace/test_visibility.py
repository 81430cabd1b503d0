from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

import nexus
from nexus.errors import ConfigError
from nexus.models.ports import PortMapping
from nexus.ports.addresses import interface_address
from tests.workbench import Bench, make_bench

OPEN: dict[str, JsonValue] = {
    "ports.web.container": 3000,
    "ports.web.visibility": "org",
    "ports.all.container": 1,
    "ports.all.visibility": "public",
}


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


def manager(bench: Bench, node: Path, address: str) -> nexus.WorkspaceManager:
    node.write_text(f"network:\n  org_address: {address}\n")
    stack = nexus.ConfigStack.load(bench.repository, flags={**bench.flags, **OPEN}, node_file=node)
    return nexus.open(bench.repository, config=stack, providers=bench.providers)


def test_visibility_decides_the_address() -> None:
    def at(**changes: object) -> str:
        return PortMapping.model_validate({"name": "w", "container_port": 1, "host_port": 2, **changes}).bind_address

    assert at() == at(visibility="private") == "127.0.0.1"
    assert at(visibility="public") == "0.0.0.0"
    assert at(visibility="org", address="10.0.0.5") == "10.0.0.5"
    assert at(visibility="org") == "127.0.0.1", "a port without an address is never open to everybody"


async def test_the_organisations_ports_are_at_the_nodes_address_and_move_with_it(bench: Bench, tmp_path: Path) -> None:
    node = tmp_path / "node.yaml"
    async with manager(bench, node, "lo") as nx:
        ws = await nx.create("a")
        web = ws.ports["web"]
        assert (web.bind_address, web.url) == ("127.0.0.1", f"http://127.0.0.1:{web.host_port}")
        assert ws.ports["all"].bind_address == "0.0.0.0"
        await ws.stop()
    async with manager(bench, node, "127.0.0.2") as nx:
        ws = await nx.attach("a")
        await ws.start()
        moved = ws.ports["web"]
        assert (moved.host_port, moved.bind_address) == (web.host_port, "127.0.0.2")
        assert moved.url == f"http://127.0.0.2:{web.host_port}"
        assert bench.world is not None
        assert bench.world.machines[ws.id].spec.ports[0].bind_address == "127.0.0.2", "the backend was told"
        await ws.destroy()


async def test_an_interface_without_an_address_is_named_with_its_place(bench: Bench, tmp_path: Path) -> None:
    node = tmp_path / "node.yaml"
    async with manager(bench, node, "nosuch0") as nx:
        with pytest.raises(ConfigError, match=f"{node}:2:.*nosuch0, and no network interface") as caught:
            await nx.create("a")
        assert caught.value.hint is not None
        assert await nx.list() == ()


def test_an_interface_has_an_address_and_an_address_is_itself() -> None:
    assert interface_address("lo") == "127.0.0.1"
    assert interface_address("fd00::1") == "fd00::1"
    assert interface_address("nosuch0") is None
