from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from nexus.errors import InvalidArgument, PortInUse, PortsExhausted
from nexus.models.ids import WorkspaceId, new_workspace_id, parse_name
from nexus.models.ports import PortChange, PortMapping, PortRange, PortRequest
from nexus.ports import PortAllocator
from nexus.state import Claim, NodeRegistry
from tests.programs import Spawn

Listen = Callable[..., socket.socket]
A, B = WorkspaceId("aaaaaaaa-0000-4000-8000-000000000000"), WorkspaceId("bbbbbbbb-0000-4000-8000-000000000000")


def want(*names: str, host: int | None = None) -> list[PortRequest]:
    return [PortRequest(name=name, container=3000, host=host) for name in names]


async def allocate(allocator: PortAllocator, owner: WorkspaceId, *names: str, key: str = "/r:a") -> list[int]:
    mappings = await allocator.allocate(owner, key=key, backend="local", requests=want(*names))
    return [mapping.host_port for mapping in mappings]


async def owned(registry: NodeRegistry, owner: str) -> dict[str, int]:
    return {row.purpose: row.port for row in await registry.leases(owner)}


async def test_a_workspace_gets_a_port_for_every_service(allocator: PortAllocator) -> None:
    requests = [
        PortRequest(name="web", container=3000),
        PortRequest(name="dns", container=53, protocol="udp", visibility="public"),
    ]
    web, dns = await allocator.allocate(A, key="/r:a", backend="local", requests=requests)
    base = web.host_port // 10 * 10
    assert web == PortMapping(name="web", container_port=3000, host_port=base + 1, url=f"http://127.0.0.1:{base + 1}")
    assert dns == PortMapping(
        name="dns", protocol="udp", container_port=53, host_port=base + 5, visibility="public", url=None
    )
    rows = await allocator.leases()
    assert [(row.port, row.protocol, row.owner, row.purpose, row.base) for row in rows] == [
        (base + 1, "tcp", A, "web", base),
        (base + 5, "udp", A, "dns", base),
    ]


async def test_nothing_asked_for_is_nothing_leased(allocator: PortAllocator) -> None:
    assert await allocator.allocate(A, key="/r:a", backend="local", requests=[]) == ()
    assert await allocator.leases() == ()


async def test_the_same_names_get_the_same_ports(allocator: PortAllocator) -> None:
    first = await allocate(allocator, A, "web", "api", "worker")
    assert await allocate(allocator, A, "web", "api", "worker") == first
    assert await allocate(allocator, A, "worker", "web") == [first[2], first[0]]
    web, metrics, worker = await allocate(allocator, A, "web", "metrics", "worker")
    assert [web, worker] == [first[0], first[2]]
    assert metrics // 10 == web // 10, "a new service joins the block"
    assert metrics not in first


async def test_asking_again_does_not_mind_that_the_workspace_listens(allocator: PortAllocator, listen: Listen) -> None:
    (port,) = await allocate(allocator, A, "web")
    listen(port)
    assert await allocate(allocator, A, "web") == [port]


async def test_another_workspace_gets_another_block(allocator: PortAllocator) -> None:
    (first,) = await allocate(allocator, A, "web")
    (second,) = await allocate(allocator, B, "web")  # the same key: its place is taken
    assert first // 10 != second // 10


async def test_released_ports_come_back_to_the_same_key(allocator: PortAllocator) -> None:
    first = await allocate(allocator, A, "web", "api")
    await allocator.release(A)
    await allocator.release(A)
    assert await allocator.leases() == ()
    assert await allocate(allocator, B, "web", "api") == first


async def test_a_port_that_a_program_listens_on_is_passed_over(allocator: PortAllocator, listen: Listen) -> None:
    (port,) = await allocate(allocator, A, "web")
    await allocator.release(A)
    listen(port, "0.0.0.0")
    (other,) = await allocate(allocator, A, "web")
    assert other != port
    assert other // 10 == port // 10, "the block stays"
    assert [row.port for row in await allocator.leases()] == [other]


async def test_a_block_full_of_listeners_is_left_for_the_next(allocator: PortAllocator, listen: Listen) -> None:
    (port,) = await allocate(allocator, A, "web")
    await allocator.release(A)
    base = port // 10 * 10
    for each in range(base, base + 10):
        listen(each)
    (other,) = await allocate(allocator, A, "web")
    assert other // 10 != port // 10
    assert len(await allocator.leases()) == 1


async def test_a_fixed_port_is_given_or_its_holder_is_named(
    allocator: PortAllocator, registry: NodeRegistry, listen: Listen
) -> None:
    (mapping,) = await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", host=61500))
    assert (mapping.host_port, mapping.fixed) == (61500, True)
    again = await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", host=61500))
    assert again == (mapping,)
    with pytest.raises(PortInUse, match=f"61500/tcp for 'web' is in use by workspace {A}"):
        await allocator.allocate(B, key="/r:b", backend="local", requests=want("web", host=61500))
    await registry.claim(Claim(id=A, name=parse_name("a"), repository=Path("/r"), user="me", backend="local"))
    with pytest.raises(PortInUse, match="in use by workspace 'a' of /r") as caught:
        await allocator.allocate(B, key="/r:b", backend="local", requests=[*want("api"), *want("web", host=61500)])
    assert caught.value.details == {
        "port": 61500,
        "protocol": "tcp",
        "holder": "workspace 'a' of /r",
        "service": "web",
    }
    assert caught.value.hint == (
        "destroy it, or give this one another host port: --set ports.web.host=PORT, or null for any that is free"
    )
    assert await registry.leases(B) == (), "not even the other service's port"
    port = listen(0).getsockname()[1]
    with pytest.raises(PortInUse, match=f"is in use by .*, process {os.getpid()}"):
        await allocator.allocate(B, key="/r:b", backend="local", requests=[*want("api"), *want("web", host=port)])
    assert await registry.leases(B) == ()


async def test_a_fixed_port_leased_to_a_program_names_the_program(allocator: PortAllocator) -> None:
    async with allocator.lease(purpose="preview server", preferred=61700):
        with pytest.raises(PortInUse, match=rf"in use by process {os.getpid()} \(preview server\)"):
            await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", host=61700))
    await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", host=61700))


async def test_tcp_and_udp_of_one_number_may_have_two_owners(allocator: PortAllocator) -> None:
    await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", host=61500))
    udp = PortRequest(name="dns", container=53, host=61500, protocol="udp")
    (mapping,) = await allocator.allocate(B, key="/r:b", backend="local", requests=[udp])
    assert mapping.host_port == 61500


async def test_a_failed_change_keeps_what_was_leased(allocator: PortAllocator, registry: NodeRegistry) -> None:
    await allocator.allocate(B, key="/r:b", backend="local", requests=want("web", host=61500))
    await allocate(allocator, A, "web", "api")
    before = await registry.leases(A)
    with pytest.raises(PortInUse):
        await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", host=61500))
    assert await registry.leases(A) == before


async def test_a_service_may_become_fixed_and_chosen_again(allocator: PortAllocator, registry: NodeRegistry) -> None:
    first = await allocate(allocator, A, "web", "api")
    (mapping,) = await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", host=61500))
    assert (mapping.host_port, await owned(registry, A)) == (61500, {"web": 61500, "api": first[1]})
    assert await allocate(allocator, A, "web", "api") == first


async def test_contradicting_requests_are_refused_before_anything_is_leased(allocator: PortAllocator) -> None:
    with pytest.raises(InvalidArgument, match="two ports are called 'web'"):
        await allocate(allocator, A, "web", "web")
    assert await allocator.leases() == ()
    await allocate(allocator, A, "web")
    with pytest.raises(InvalidArgument, match="two ports are called 'web'"):
        await allocate(allocator, A, "web", "web")


async def test_all_220_blocks_then_the_fallback(registry: NodeRegistry) -> None:
    allocator = PortAllocator(registry)
    for number in range(221):
        await allocator.allocate(new_workspace_id(), key=f"/r:{number}", backend="docker", requests=want("web"))
    bases = sorted(row.base or 0 for row in await allocator.leases())
    assert bases[:220] == list(range(32800, 35000, 10))
    assert bases[220] >= 40000


async def test_a_narrow_range_is_exhausted_with_numbers(registry: NodeRegistry) -> None:
    allocator = PortAllocator(registry, port_range=PortRange(start=61000, end=61019))
    await allocate(allocator, A, "web")
    await allocate(allocator, B, "web")
    third = new_workspace_id()
    with pytest.raises(PortsExhausted, match="all 2 blocks in 61000-61019") as caught:
        await allocate(allocator, third, "web")
    assert caught.value.details == {"blocks": 2, "wanted": 1, "leased_ports": 2}
    assert await registry.leases(third) == ()
    await allocator.release(A)
    await allocate(allocator, third, "web")


async def test_a_stopped_workspace_has_its_ports_back(allocator: PortAllocator) -> None:
    mappings = await allocator.allocate(A, key="/r:a", backend="local", requests=want("web", "api"))
    assert await allocator.verify(A, mappings) == (mappings, ())
    assert await allocator.verify(A, ()) == ((), ())


async def test_a_stolen_port_is_replaced_and_told(
    allocator: PortAllocator, registry: NodeRegistry, listen: Listen
) -> None:
    mappings = await allocator.allocate(A, key="/r:a", backend="local", requests=want("ssh", "web", "api"))
    stolen = mappings[1].host_port
    thief = listen(stolen)
    found, (change,) = await allocator.verify(A, mappings)
    assert change == PortChange(name="web", old=stolen, new=found[1].host_port)
    assert (found[0], found[2]) == (mappings[0], mappings[2])
    assert found[1] == mappings[1].model_copy(update={"host_port": change.new, "url": f"http://127.0.0.1:{change.new}"})
    assert change.new // 10 == stolen // 10
    assert await owned(registry, A) == {each.name: each.host_port for each in found}
    thief.close()
    assert await allocator.verify(A, found) == (found, ()), "it does not move back"


async def test_a_stolen_fixed_port_names_the_thief_and_changes_nothing(
    allocator: PortAllocator, registry: NodeRegistry, listen: Listen
) -> None:
    requests = [*want("api"), *want("web", host=61500)]
    mappings = await allocator.allocate(A, key="/r:a", backend="local", requests=requests)
    before = await registry.leases()
    listen(61500)
    listen(mappings[0].host_port)
    with pytest.raises(PortInUse, match=rf"61500/tcp for 'web' is in use by .*process {os.getpid()}"):
        await allocator.verify(A, mappings)
    assert await registry.leases() == before


async def test_leases_the_registry_lost_are_made_again(allocator: PortAllocator, registry: NodeRegistry) -> None:
    requests = [*want("web", "api"), *want("db", host=61500)]
    mappings = await allocator.allocate(A, key="/r:a", backend="local", requests=requests)
    registry.path.unlink()
    assert await allocator.verify(A, mappings) == (mappings, ())
    assert await owned(registry, A) == {each.name: each.host_port for each in mappings}
    fixed = {row.purpose for row in await registry.leases(A) if row.fixed}
    assert fixed == {"db"}


async def test_a_lost_lease_that_another_workspace_has_by_now_is_replaced(
    allocator: PortAllocator, registry: NodeRegistry
) -> None:
    mappings = await allocator.allocate(A, key="/r:a", backend="local", requests=want("web"))
    registry.path.unlink()
    assert await allocate(allocator, B, "web") == [mappings[0].host_port]
    (found,), (change,) = await allocator.verify(A, mappings)
    assert change.old == mappings[0].host_port
    assert await owned(registry, A) == {"web": found.host_port}
    assert await owned(registry, B) == {"web": change.old}


async def test_a_stolen_port_without_replacement_keeps_its_lease(registry: NodeRegistry, listen: Listen) -> None:
    allocator = PortAllocator(registry, port_range=PortRange(start=61000, end=61009))
    mappings = await allocator.allocate(A, key="/r:a", backend="local", requests=want("web"))
    before = await registry.leases()
    for port in range(61000, 61010):
        listen(port)
    with pytest.raises(PortsExhausted):
        await allocator.verify(A, mappings)
    assert await registry.leases() == before


async def test_a_program_holds_ports_for_a_block(allocator: PortAllocator, registry: NodeRegistry) -> None:
    async with allocator.lease(3, purpose="preview") as lease:
        assert len(set(lease.ports)) == 3
        rows = await registry.leases(lease.owner)
        assert sorted(lease.ports) == [row.port for row in rows]
        assert {(row.purpose, row.process and row.process.pid) for row in rows} == {("preview", os.getpid())}
        async with allocator.lease(purpose="preview") as other:
            assert not set(other.ports) & set(lease.ports)
        assert len(await registry.leases()) == 3, "the inner one gives back its own only"
        assert await allocator.reclaim() == ()
    assert await registry.leases() == ()
    async with allocator.lease(3, purpose="preview") as again:
        assert again.ports == lease.ports, "the same purpose tries the same ports first"


async def test_a_preferred_port_is_had_when_it_is_free(allocator: PortAllocator, listen: Listen) -> None:
    async with allocator.lease(2, purpose="x", preferred=61234) as first:
        assert first.ports[0] == 61234
        async with allocator.lease(purpose="x", preferred=61234) as second:
            assert second.ports != (61234,)
    listen(61234)
    async with allocator.lease(purpose="x", preferred=61234) as third:
        assert third.ports != (61234,)


async def test_an_error_or_a_cancellation_in_the_block_gives_the_ports_back(allocator: PortAllocator) -> None:
    with pytest.raises(ZeroDivisionError):
        async with allocator.lease(purpose="x"):
            raise ZeroDivisionError
    with anyio.move_on_after(0.01):
        async with allocator.lease(purpose="x"):
            await anyio.sleep_forever()
    held = asyncio.Event()
    task = asyncio.ensure_future(_hold(allocator, held))
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await allocator.leases() == ()


async def _hold(allocator: PortAllocator, held: asyncio.Event) -> None:
    async with allocator.lease(purpose="x"):
        held.set()
        await asyncio.sleep(3600)


@pytest.mark.parametrize("turns", range(1, 16))
async def test_cancelling_at_any_moment_leaves_no_program_lease(allocator: PortAllocator, turns: int) -> None:
    task = asyncio.ensure_future(_hold(allocator, asyncio.Event()))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await allocator.leases() == ()


async def test_a_lease_of_no_ports_is_refused(allocator: PortAllocator) -> None:
    with pytest.raises(InvalidArgument, match="count must be at least 1"):
        async with allocator.lease(0, purpose="x"):
            pytest.fail("not to be reached")


LEASE = """
import sys, anyio
from pathlib import Path
from nexus.models.ports import PortRange
from nexus.ports import PortAllocator
from nexus.state import NodeRegistry
async def main():
    allocator = PortAllocator(NodeRegistry(Path(sys.argv[1])), port_range=PortRange(start=61000, end=65529))
    print("ready", flush=True)
    sys.stdin.readline()
    async with allocator.lease(4, purpose="crowd") as lease:
        print(*lease.ports, flush=True)
        sys.stdin.readline()
anyio.run(main)
"""


async def _ports_of(children: list[subprocess.Popen[str]]) -> list[list[int]]:
    answers: list[list[int]] = []
    for child in children:
        assert child.stdout is not None
        assert await to_thread.run_sync(child.stdout.readline) == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        assert child.stdout is not None
        answers.append([int(port) for port in (await to_thread.run_sync(child.stdout.readline)).split()])
    return answers


async def test_the_ports_of_a_killed_program_are_reclaimed(
    allocator: PortAllocator, registry: NodeRegistry, spawn: Spawn
) -> None:
    child = spawn(LEASE, str(registry.path))
    (ports,) = await _ports_of([child])
    async with allocator.lease(purpose="crowd") as meanwhile:
        assert meanwhile.ports[0] not in ports
    child.kill()
    child.wait()
    async with allocator.lease(4, purpose="crowd") as lease:  # leasing alone finds out
        assert list(lease.ports) == ports
    second = spawn(LEASE, str(registry.path))
    await _ports_of([second])
    second.kill()
    second.wait()
    assert sorted(await allocator.reclaim()) == sorted(ports)
    assert await allocator.leases() == ()


@pytest.mark.slow
async def test_twenty_processes_at_once_never_get_one_port_twice(
    allocator: PortAllocator, registry: NodeRegistry, spawn: Spawn
) -> None:
    children = [spawn(LEASE, str(registry.path)) for _ in range(20)]
    answers = await _ports_of(children)
    ports = [port for answer in answers for port in answer]
    assert len(ports) == len(set(ports)) == 80
    assert sorted(ports) == [row.port for row in await allocator.leases()]
    for child in children:
        await to_thread.run_sync(child.communicate, "done\n")
    assert [child.returncode for child in children] == [0] * 20
    assert await allocator.leases() == ()


async def test_many_workspaces_of_one_process_at_once(allocator: PortAllocator) -> None:
    results: list[list[int]] = []

    async def one(number: int) -> None:
        results.append(await allocate(allocator, new_workspace_id(), "web", "api", key=f"/r:{number}"))

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(one, number)
    ports = [port for result in results for port in result]
    assert len(ports) == len(set(ports)) == 80


async def test_ipv6_hosts_are_bracketed_in_urls(registry: NodeRegistry) -> None:
    allocator = PortAllocator(registry, port_range=PortRange(start=61000, end=61009), host="::1")
    (mapping,) = await allocator.allocate(A, key="/r:a", backend="local", requests=want("web"))
    assert mapping.url == f"http://[::1]:{mapping.host_port}"
