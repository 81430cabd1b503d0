"""Containers from creation to destruction, on a real engine, with what the engine itself says of them."""

from __future__ import annotations

import asyncio
import os
import socket
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from nexus.errors import ImageNotFound, InvalidArgument, PortInUse, WorkspaceGone, WorkspaceStopped
from nexus.models.ids import new_workspace_id
from nexus.models.instances import (
    LABEL_NAME,
    LABEL_NODE,
    LABEL_WORKSPACE,
    InstanceRef,
    InstanceState,
)
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.providers.docker import creation, networks
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.provider import DockerProvider
from tests.engine.driving import command, drain, read_until, run, sh
from tests.engine.raw import RawEngine
from tests.providers.docker.conftest import MakeSpec
from tests.unused_ports import unused_port

pytestmark = pytest.mark.docker


def _handle(instance: object) -> str:
    assert isinstance(instance, DockerInstance)
    assert instance.ref.handle
    return instance.ref.handle


async def test_what_is_asked_for_is_what_the_engine_made(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    spec = make_spec(env={"COLOUR": "blue"}, labels={"team": "red"})
    made = raw.container(_handle(await provider.create(spec)))

    host = made["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (256 * 1024 * 1024, 1_000_000_000, 4096)
    assert host["Init"] is True
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert {"NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP"} <= {cap.removeprefix("CAP_") for cap in host["CapDrop"]}
    assert host["RestartPolicy"]["Name"] in {"", "no"}
    assert not host["Privileged"]
    config = made["Config"]
    assert config["User"] == f"{os.getuid()}:{os.getgid()}"
    assert config["Hostname"] == spec.name
    assert "COLOUR=blue" in config["Env"]
    labels = config["Labels"]
    assert (labels[LABEL_WORKSPACE], labels[LABEL_NAME], labels[LABEL_NODE]) == (spec.id, spec.name, spec.node)
    assert labels["team"] == "red"
    assert made["Name"] == f"/nexus-{spec.name}-{spec.id[:8]}"
    assert made["State"]["Status"] == "created"


async def test_limits_hold_inside(running: DockerInstance) -> None:
    seen = await sh(
        running,
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max;"
        "grep NoNewPrivs /proc/self/status; grep CapBnd /proc/self/status",
    )

    limit, privileges, capabilities = seen.out.decode().splitlines()
    assert limit == str(256 * 1024 * 1024)
    assert privileges.split()[1] == "1"
    assert not int(capabilities.split()[1], 16) & (1 << 13 | 1 << 27 | 1 << 29 | 1 << 31)


async def test_each_workspace_has_a_network_of_its_own_from_the_pool(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    specs = [make_spec() for _ in range(3)]
    for spec in specs:
        await provider.create(spec)

    subnets = []
    for spec in specs:
        (network,) = raw.labelled(f"{LABEL_WORKSPACE}={spec.id}")["networks"]
        described = raw.get(f"/networks/{network}")
        assert described["Driver"] == "bridge"
        subnets.append(IPv4Network(described["IPAM"]["Config"][0]["Subnet"]))
    assert all(subnet.prefixlen == 28 and subnet.subnet_of(IPv4Network("10.213.0.0/16")) for subnet in subnets)
    assert not any(one.overlaps(other) for one in subnets for other in subnets if one is not other)


async def test_a_network_in_the_way_is_walked_around(
    engine: str, provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine, node: str
) -> None:
    first, second = make_spec(), make_spec()
    small = {"socket": engine, "subnet_pool": "10.214.96.0/26"}
    async with DockerProvider(small, env={}) as cramped:
        await cramped.create(first)
        await cramped.create(second.model_copy(update={"options": small}))
    found = raw.labelled(f"{LABEL_NODE}={node}")["networks"]

    assert len({raw.get(f"/networks/{number}")["IPAM"]["Config"][0]["Subnet"] for number in found}) == 2


class Slow:
    """An engine that makes a network only when it is let."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked, self.let = asyncio.Event(), asyncio.Event()
        self._make = networks._create
        patch.setattr(networks, "_create", self)

    async def __call__(self, *given: Any) -> str:
        self.asked.set()
        await self.let.wait()
        return await self._make(*given)


async def test_a_container_is_made_while_its_network_is(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, spec = Slow(monkeypatch), make_spec()
    async with asyncio.TaskGroup() as group:
        group.create_task(provider.make_ahead(spec))
        await slow.asked.wait()
        instance = await provider.create(spec)  # nobody would ever let the network be made, were it waited for
        slow.let.set()
    await instance.start()
    assert (await sh(instance, "echo here")).out == b"here\n"
    assert len(raw.labelled(f"{LABEL_WORKSPACE}={spec.id}")["networks"]) == 1
    again = await provider.create(spec)
    assert again.ref.handle == instance.ref.handle


async def test_an_engine_that_wants_the_network_first_is_given_it(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, spec, refused = Slow(monkeypatch), make_spec(), 0
    post = creation._post

    async def strict(*given: Any) -> str:
        nonlocal refused
        if not raw.labelled(f"{LABEL_WORKSPACE}={spec.id}")["networks"]:
            refused += 1
            slow.let.set()
            text = "unable to find network with name or ID nexus-x: network not found"
            raise EngineRefused("create the container", status=404, text=text)
        return await post(*given)

    monkeypatch.setattr(creation, "_post", strict)
    async with asyncio.TaskGroup() as group:
        group.create_task(provider.make_ahead(spec))
        await slow.asked.wait()
        instance = await provider.create(spec)
    assert refused == 1
    await instance.start()


async def test_files_made_inside_belong_to_the_user_outside(
    engine: str, provider: DockerProvider, make_spec: MakeSpec
) -> None:
    spec = make_spec(
        options={"user": "2468:1357"},
        links={"/workspace": "/placeholder"},
        mounts=(),
    )
    tree = spec.worktree
    spec = spec.model_copy(
        update={
            "links": {"/workspace": str(tree)},
            "mounts": (
                VolumeMount(source=str(tree), target=str(tree)),
                VolumeMount(source=f"nexus-test-{spec.id[:8]}", target="/cache", kind="volume"),
                VolumeMount(source="", target="/scratch", kind="tmpfs"),
            ),
        }
    )
    instance = await provider.create(spec)
    await instance.start()

    done = await sh(
        instance,
        'id -u; id -g; echo $HOME; touch "$HOME/note" made /cache/kept && mkdir folder; cat /proc/mounts | grep -c scratch',
    )

    assert done.out.decode().split() == ["2468", "1357", "/home/nexus", "1"], done
    assert [((tree / name).stat().st_uid, (tree / name).stat().st_gid) for name in ("made", "folder")] == [
        (2468, 1357)
    ] * 2
    through_link = await sh(instance, "cd /workspace && ls && echo more > made", cwd="/workspace")
    assert through_link.out.split() == [b"folder", b"made"]
    assert (tree / "made").read_text() == "more\n"


async def test_a_read_only_mount_cannot_be_written(
    provider: DockerProvider, make_spec: MakeSpec, tmp_path: Path
) -> None:
    (tmp_path / "fixed").mkdir()
    spec = make_spec(
        workdir="/", mounts=(VolumeMount(source=str(tmp_path / "fixed"), target="/fixed", read_only=True),)
    )
    instance = await provider.create(spec)
    await instance.start()

    assert (await sh(instance, "touch /fixed/x")).code != 0
    assert list((tmp_path / "fixed").iterdir()) == []


async def test_a_missing_mount_source_is_an_argument_error_and_leaves_nothing(
    provider: DockerProvider, make_spec: MakeSpec, tmp_path: Path, raw: RawEngine
) -> None:
    spec = make_spec(mounts=(VolumeMount(source=str(tmp_path / "absent"), target="/x"),))

    with pytest.raises(InvalidArgument, match="does not exist"):
        await provider.create(spec)

    assert not any(raw.labelled(f"{LABEL_WORKSPACE}={spec.id}").values())
    assert not (tmp_path / "absent").exists()


async def test_a_missing_image_is_named_and_leaves_nothing(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    spec = make_spec(image="nexus-test-no-such-image:1")

    with pytest.raises(ImageNotFound, match="nexus-test-no-such-image:1") as caught:
        await provider.create(spec)

    assert caught.value.hint
    assert not any(raw.labelled(f"{LABEL_WORKSPACE}={spec.id}").values())


async def test_a_cancelled_creation_leaves_nothing(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    cancelled = 0
    for turns in (0, 1, 3, 8, 20, 40):
        spec = make_spec()
        task = asyncio.create_task(provider.create(spec))
        await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0.002)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            cancelled += 1
            left = raw.labelled(f"{LABEL_WORKSPACE}={spec.id}")
            assert not any(left.values()), (turns, left)
    assert cancelled  # the first had only begun


async def test_creating_twice_gives_the_same_container(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    spec = make_spec()

    made = await asyncio.gather(*(provider.create(spec) for _ in range(4)))

    assert len({instance.ref.handle for instance in made}) == 1
    found = raw.labelled(f"{LABEL_WORKSPACE}={spec.id}")
    assert (len(found["containers"]), len(found["networks"])) == (1, 1)


async def test_a_published_port_is_reachable_on_this_machine_only(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    port = unused_port()
    mapping = PortMapping(name="web", container_port=8080, host_port=port, url=f"http://127.0.0.1:{port}")
    instance = await provider.create(make_spec(ports=(mapping,)))
    await instance.start()
    server = await instance.spawn(command("sh", "-c", "while :; do echo hello | nc -l -p 8080; done"))

    assert await _hear(port) == b"hello\n"
    assert (await instance.status()).ports == (mapping,)
    (entry,) = raw.container(_handle(instance))["HostConfig"]["PortBindings"]["8080/tcp"]
    assert entry["HostIp"] == "127.0.0.1"
    await server.aclose()


async def test_a_public_port_is_reachable_by_both_address_families(
    provider: DockerProvider, make_spec: MakeSpec
) -> None:
    port = unused_port()
    mapping = PortMapping(name="web", container_port=8080, host_port=port, visibility="public")
    instance = await provider.create(make_spec(ports=(mapping,)))
    await instance.start()
    server = await instance.spawn(command("sh", "-c", "while :; do echo hello | nc -l -p 8080; done"))
    for address in ("127.0.0.1", *(["::1"] if Path("/proc/net/if_inet6").exists() else [])):
        assert await _hear(port, address) == b"hello\n"
    await server.aclose()


async def _hear(port: int, address: str = "127.0.0.1") -> bytes:
    for _ in range(200):
        try:
            reader, writer = await asyncio.open_connection(address, port)
            heard = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            if heard:
                return heard
        except OSError:
            pass
        await asyncio.sleep(0.05)
    return b""


async def test_a_taken_port_is_named_whoever_holds_it(provider: DockerProvider, make_spec: MakeSpec) -> None:
    port = unused_port()
    mapping = PortMapping(name="web", container_port=80, host_port=port)
    one, two = await provider.create(make_spec(ports=(mapping,))), await provider.create(make_spec(ports=(mapping,)))
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse) as by_program:
        await one.start()
    await one.start()

    with pytest.raises(PortInUse) as by_container:
        await two.start()

    assert by_program.value.details["port"] == by_container.value.details["port"] == port
    assert (await two.status()).state in {InstanceState.STOPPED, InstanceState.FAILED}
    await one.stop(grace=0)
    await two.start()
    assert (await two.status()).state is InstanceState.RUNNING


async def test_stopping_lets_commands_end_in_order(running: DockerInstance, provider: DockerProvider) -> None:
    process = await running.spawn(command("sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; sleep 60 & wait"))
    await read_until(process, b"up\n")

    await running.stop(grace=20)

    ran = await drain(process)
    assert ran.out == b"bye\n"
    assert ran.code == 3
    status = await running.status()
    assert status.state is InstanceState.STOPPED
    await running.stop()
    await running.start()
    assert (await run(running, "true")).code == 0


async def test_stopping_kills_what_does_not_end(running: DockerInstance) -> None:
    process = await running.spawn(command("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"))
    await read_until(process, b"up\n")

    await running.stop(grace=1)

    end = (await drain(process)).end
    assert end.lost or end.exit_code == 137
    assert (await running.status()).state is InstanceState.STOPPED


async def test_paused_by_hand_is_seen_and_start_wakes_it(running: DockerInstance, raw: RawEngine) -> None:
    raw.call("POST", f"/containers/{_handle(running)}/pause")

    assert (await running.status()).state is InstanceState.PAUSED
    with pytest.raises(WorkspaceStopped, match="paused"):
        await running.spawn(command("true"))
    await running.start()
    assert (await run(running, "true")).code == 0


async def test_removed_by_hand_is_gone_everywhere(
    running: DockerInstance, provider: DockerProvider, raw: RawEngine
) -> None:
    raw.call("DELETE", f"/containers/{_handle(running)}?force=1")

    assert (await running.status()).state is InstanceState.GONE
    for act in (
        running.start,
        running.stop,
        running.pause,
        running.resume,
        running.stats,
        lambda: running.spawn(command("ls")),
    ):
        with pytest.raises(WorkspaceGone) as caught:
            await act()
        assert caught.value.hint
    with pytest.raises(WorkspaceGone):
        _ = [piece async for piece in running.logs()]
    await provider.destroy(running.ref)
    assert not any(raw.labelled(f"{LABEL_WORKSPACE}={running.ref.id}").values())


async def test_a_network_removed_by_hand_is_made_again(running: DockerInstance, raw: RawEngine) -> None:
    await running.stop(grace=1)
    (network,) = raw.labelled(f"{LABEL_WORKSPACE}={running.ref.id}")["networks"]
    assert raw.call("DELETE", f"/networks/{network}")[0] == 204

    await running.start()

    (again,) = raw.labelled(f"{LABEL_WORKSPACE}={running.ref.id}")["networks"]
    assert again != network
    assert b"eth0" in (await run(running, "cat", "/proc/net/dev")).out


async def test_destroy_removes_even_with_strangers_on_the_network(
    running: DockerInstance, provider: DockerProvider, raw: RawEngine, make_spec: MakeSpec, node: str
) -> None:
    (network,) = raw.labelled(f"{LABEL_WORKSPACE}={running.ref.id}")["networks"]
    other = await provider.create(make_spec())
    await other.start()
    raw.call("POST", f"/networks/{network}/connect", body={"Container": other.ref.handle})

    await provider.destroy(InstanceRef(id=running.ref.id))

    assert not any(raw.labelled(f"{LABEL_WORKSPACE}={running.ref.id}").values())
    assert (await other.status()).state is InstanceState.RUNNING


@pytest.mark.parametrize("state", ["created", "running", "paused", "stopped"])
async def test_destroy_works_in_every_state_and_twice(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine, state: str
) -> None:
    spec = make_spec(
        mounts=(VolumeMount(source=f"nexus-test-{new_workspace_id()[:8]}", target="/v", kind="volume"),), workdir="/"
    )
    instance = await provider.create(spec)
    assert isinstance(instance, DockerInstance)
    if state != "created":
        await instance.start()
    if state == "paused":
        await instance.pause()
    if state == "stopped":
        await instance.stop(grace=0)

    await asyncio.gather(*(provider.destroy(instance.ref) for _ in range(3)))

    await provider.destroy(instance.ref)
    assert not any(raw.labelled(f"{LABEL_WORKSPACE}={spec.id}").values())


async def test_a_handle_that_names_a_strangers_container_is_not_believed(
    provider: DockerProvider, running: DockerInstance, raw: RawEngine
) -> None:
    lying = InstanceRef(id=new_workspace_id(), name="liar", handle=running.ref.handle)
    instance = await provider.attach(lying)

    assert (await instance.status()).state is InstanceState.GONE
    with pytest.raises(WorkspaceGone):
        await instance.stop(grace=0)
    await provider.destroy(lying)
    assert raw.container(_handle(running))["State"]["Running"]


@pytest.mark.parametrize("handle", ["../../networks/prune", "a/json?x=", "%2e%2e", ""])
async def test_a_handle_that_is_a_path_reaches_nothing(provider: DockerProvider, handle: str) -> None:
    instance = await provider.attach(InstanceRef(id=new_workspace_id(), handle=handle))

    assert (await instance.status()).state is InstanceState.GONE


async def test_listing_finds_by_labels(provider: DockerProvider, make_spec: MakeSpec, node: str) -> None:
    first, second = make_spec(labels={"kind": "a"}), make_spec(labels={"kind": "b"})
    instance = await provider.create(first)
    await instance.start()
    await provider.create(second)

    both = await provider.list({LABEL_NODE: node})
    one = await provider.list({LABEL_NODE: node, "kind": "a"})

    assert {(status.ref.id, status.state) for status in both} == {
        (first.id, InstanceState.RUNNING),
        (second.id, InstanceState.STOPPED),
    }
    assert [status.ref.name for status in one] == [first.name]


async def test_logs_are_the_main_processs_own(running: DockerInstance) -> None:
    async with asyncio.timeout(60):
        # Until then a signal ends it at once.
        while [piece async for piece in running.logs()] != [b"nexus: started\n"]:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)
    await running.stop(grace=60)

    everything = b"".join([piece async for piece in running.logs()])
    last = b"".join([piece async for piece in running.logs(tail=1)])
    followed = b"".join([piece async for piece in running.logs(follow=True)])

    assert everything.splitlines() == [b"nexus: started", b"nexus: stopping", b"nexus: stopped"]
    assert last == b"nexus: stopped\n"
    assert followed == everything


async def test_stats_need_a_running_container(running: DockerInstance) -> None:
    first = await running.stats()
    await sh(running, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    second = await running.stats()

    assert first.cpu_percent is None
    assert second.cpu_seconds > first.cpu_seconds
    assert second.cpu_percent is not None
    assert second.memory_limit == 256 * 1024 * 1024
    assert second.processes >= 2
    await running.stop(grace=0)
    with pytest.raises(WorkspaceStopped):
        await running.stats()
