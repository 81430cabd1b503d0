"""Services in containers, as far as they are the engine's own matter; what every backend promises is in the conformance suite."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from nexus.errors import InvalidArgument, StateConflict, Unsupported
from nexus.models.instances import LABEL_NODE, LABEL_SERVICE, LABEL_WORKSPACE, InstanceState
from nexus.models.mounts import VolumeMount
from nexus.models.services import ServiceBuild, ServiceSpec, ServiceState
from nexus.providers.docker import served
from nexus.providers.docker.provider import DockerProvider
from nexus.providers.docker.served import ServedInstance
from tests.engine.raw import RawEngine
from tests.providers.docker.conftest import MakeSpec

pytestmark = pytest.mark.docker


@pytest.fixture
async def instance(provider: DockerProvider, make_spec: MakeSpec) -> ServedInstance:
    made = await provider.create(make_spec(hosts=("db", "cache")))
    assert isinstance(made, ServedInstance)
    await made.start()
    return made


async def log_of(instance: ServedInstance, name: str) -> str:
    async with aclosing(instance.service_logs(name)) as chunks:
        return b"".join([chunk async for chunk in chunks]).decode()


async def until_ended(instance: ServedInstance) -> None:
    with anyio.fail_after(30):
        while any(status.state is not ServiceState.EXITED for status in await instance.services()):  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def test_a_service_is_built_started_again_by_the_engine_and_on_its_workspaces_network(
    instance: ServedInstance, raw: RawEngine, test_image: str, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Other").write_text(
        f"FROM {test_image} AS one\nARG WORD\nENV SAID=$WORD\nFROM one AS two\nENV SAID=two\n"
    )
    build = ServiceBuild(context=context, dockerfile=context / "Other", args={"WORD": "built"}, target="one")
    script = "echo $SAID; cat /etc/hosts; exit 3"
    spec = ServiceSpec(name="db", build=build, command=("sh", "-c", script), restart="on-failure:1")
    prepared = await instance.prepare_service(spec)
    try:
        other = build.model_copy(update={"args": {"WORD": "other"}})
        changed = await instance.prepare_service(spec.model_copy(update={"build": other}))
        assert changed.image != prepared.image
        raw.call("DELETE", f"/images/{changed.image}")
        await instance.start_service(prepared, secrets={})
        await until_ended(instance)
        lines = (await log_of(instance, "db")).splitlines()
        assert lines.count("built") == 2
        assert {tuple(line.split()) for line in lines} >= {("127.0.0.1", "db"), ("127.0.0.1", "cache")}
        number = raw.labelled(f"{LABEL_SERVICE}=db")["containers"]
        mine = [each for each in number if raw.container(each)["Config"]["Labels"][LABEL_WORKSPACE] == instance.ref.id]
        assert raw.container(mine[0])["HostConfig"]["NetworkMode"] == f"container:{instance.ref.handle}"
        assert raw.container(mine[0])["HostConfig"]["Memory"] == 256 * 1024 * 1024
    finally:
        await instance.remove_service("db")
        raw.call("DELETE", f"/images/{prepared.image}")


async def test_services_without_their_workspace_are_listed_and_removed(
    provider: DockerProvider, instance: ServedInstance, raw: RawEngine, test_image: str, node: str
) -> None:
    mounts = (VolumeMount(source=f"nexus-{instance.ref.id}-data", target="/data", kind="volume"),)
    spec = ServiceSpec(name="db", image=test_image, command=("sh", "-c", "exec sleep 100000"), mounts=mounts)
    await instance.start_service(spec, secrets={})
    (listed,) = await provider.list({LABEL_NODE: node})
    assert [(each.name, each.state) for each in listed.services] == [("db", "running")]
    (volume,) = await provider.volumes({LABEL_NODE: node})
    assert (volume.name, volume.workspace) == (mounts[0].source, instance.ref.id)
    with pytest.raises(StateConflict, match="in use by a container"):
        await provider.remove_volume(volume.name)
    raw.call("DELETE", f"/containers/{instance.ref.handle}?force=1")
    (listed,) = await provider.list({LABEL_NODE: node})
    assert (listed.state, listed.ref.id, listed.ref.name) == (InstanceState.GONE, instance.ref.id, instance.ref.name)
    await provider.destroy(listed.ref)
    assert await provider.list({LABEL_NODE: node}) == ()
    assert await provider.volumes({LABEL_NODE: node}) == ()
    await provider.remove_volume(volume.name)


async def test_a_volume_of_somebody_else_is_not_removed(provider: DockerProvider, raw: RawEngine) -> None:
    raw.call("POST", "/volumes/create", body={"Name": "nexus-test-not-ours"})
    try:
        with pytest.raises(StateConflict, match="was not made for a workspace"):
            await provider.remove_volume("nexus-test-not-ours")
        assert raw.call("GET", "/volumes/nexus-test-not-ours")[0] == 200
    finally:
        raw.call("DELETE", "/volumes/nexus-test-not-ours")


async def number_of(instance: ServedInstance, raw: RawEngine, name: str) -> str:
    found = raw.labelled(f"{LABEL_SERVICE}={name}")["containers"]
    (mine,) = [each for each in found if raw.container(each)["Config"]["Labels"][LABEL_WORKSPACE] == instance.ref.id]
    return str(mine)


async def until_said(instance: ServedInstance, name: str, word: str, times: int = 1) -> str:
    with anyio.fail_after(60):
        while (log := await log_of(instance, name)).split().count(word) < times:  # noqa: ASYNC110
            await anyio.sleep(0.05)
    return log


SECRETS = {"TOKEN": 'it\'s "hunter2"\n$HOME `x` \\', "n": "plain", "EMPTY": ""}
TELLS = 'printf "%s|" "$TOKEN" "$n" "$EMPTY" "$PLAIN"; umask; echo told; '


@pytest.mark.parametrize("user", [None, "1234:1234"])
async def test_secret_variables_reach_a_service_and_nothing_that_others_read(
    instance: ServedInstance, raw: RawEngine, test_image: str, user: str | None
) -> None:
    command = ("sh", "-c", f"{TELLS} trap 'echo ended; exit 7' TERM; while :; do sleep 0.1; done")
    spec = ServiceSpec(name="db", image=test_image, command=command, env={"PLAIN": "seen"}, user=user)
    await instance.start_service(spec, secrets=SECRETS)
    assert (await until_said(instance, "db", "told")).startswith(f"{SECRETS['TOKEN']}|plain||seen|0022\n")
    number = await number_of(instance, raw, "db")
    described = raw.container(number)
    assert "hunter2" not in str(described)
    assert described["Config"]["Env"][0] == "PLAIN=seen"
    _, archive = raw.call("GET", f"/containers/{number}/export")
    assert b"hunter2" not in archive
    await instance.start_service(spec, secrets=SECRETS)  # it runs as it should: nothing happens
    assert await number_of(instance, raw, "db") == number
    await instance.pause_services()
    await instance.start_service(spec, secrets=SECRETS)
    await instance.stop_service("db", grace=20)  # the service is the main process: it gets the signal itself
    assert [status.exit_code for status in await instance.services()] == [7]
    await instance.start_service(
        spec, secrets={**SECRETS, "TOKEN": "another"}
    )  # what it is now counts from the next start
    await until_said(instance, "db", "told", times=2)
    assert await number_of(instance, raw, "db") == number
    assert "another|plain||seen|" in await log_of(instance, "db")
    await instance.start_service(spec, secrets={})  # without secrets it is made anew, without a gate
    assert raw.container(await number_of(instance, raw, "db"))["Config"]["Cmd"] == list(command)


async def test_one_that_is_to_be_started_again_remembers_its_variables(
    instance: ServedInstance, raw: RawEngine, test_image: str
) -> None:
    spec = ServiceSpec(
        name="db", image=test_image, command=("sh", "-c", f"{TELLS} exit 3"), env={"PLAIN": "p"}, restart="on-failure:1"
    )
    await instance.start_service(spec, secrets=SECRETS)
    await until_ended(instance)
    assert (await log_of(instance, "db")).split().count("told") == 2
    assert [status.exit_code for status in await instance.services()] == [3]
    await instance.remove_service("db")
    waits = ("sh", "-c", f"{TELLS} trap 'echo ended; exit 7' INT TERM; while :; do sleep 0.1; done")
    kept = spec.model_copy(update={"command": waits, "restart": "always"})
    await instance.start_service(kept, secrets=SECRETS)
    await until_said(instance, "db", "told")
    await instance.stop_service("db", grace=20)
    assert [status.exit_code for status in await instance.services()] == [7]
    assert "ended" in await log_of(instance, "db")
    assert raw.container(await number_of(instance, raw, "db"))["HostConfig"]["RestartPolicy"]["Name"] == "no"


async def test_one_whose_variables_were_never_handed_out_gets_them_with_the_next_start(
    instance: ServedInstance, raw: RawEngine, test_image: str
) -> None:
    spec = ServiceSpec(name="db", image=test_image, command=("sh", "-c", f"{TELLS} exec sleep 1000"))
    await instance.start_service(spec, secrets=SECRETS)
    number = await number_of(instance, raw, "db")
    await until_said(instance, "db", "told")
    # As if whoever started it had been killed before handing them out.
    assert raw.call("POST", f"/containers/{number}/restart?t=0")[0] == 204
    await instance.start_service(spec, secrets=SECRETS)
    await until_said(instance, "db", "told", times=2)


async def test_what_cannot_be_kept_secret_or_is_not_there_is_refused(
    instance: ServedInstance, raw: RawEngine, test_image: str
) -> None:
    bare = "nexus-test-no-shell:latest"
    raw.import_image(b"\0" * 1024, bare)
    try:
        spec = ServiceSpec(name="db", image=bare, command=("/server",))
        with pytest.raises(Unsupported, match="its image has no /bin/sh that could take them"):
            await instance.start_service(spec, secrets={"TOKEN": "hunter2"})
    finally:
        raw.call("DELETE", f"/images/{bare}?force=1")
    spec = ServiceSpec(name="db", image=test_image, command=("true",))
    with pytest.raises(Unsupported, match="refers to a secret as 'A-B', which no shell can hand to it"):
        await instance.start_service(spec, secrets={"A-B": "hunter2"})
    with pytest.raises(InvalidArgument, match="has no image to run in a container"):
        await instance.prepare_service(ServiceSpec(name="db", command=("true",)))
    mount = VolumeMount(source="/no/such/folder", target="/x")
    with pytest.raises(InvalidArgument, match="/no/such/folder, which is not in this host"):
        await instance.start_service(spec.model_copy(update={"mounts": (mount,)}), secrets={})
    assert await instance.services() == ()


async def test_a_service_may_be_given_less_than_its_workspace_and_never_more(
    instance: ServedInstance, raw: RawEngine, test_image: str
) -> None:
    spec = ServiceSpec(name="db", image=test_image, command=("sleep", "1000"), cpu=0.25, memory=64 * 1024 * 1024)
    await instance.start_service(spec, secrets={})
    limits = raw.container(await number_of(instance, raw, "db"))["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"]) == (250_000_000, 64 * 1024 * 1024)
    await instance.start_service(spec.model_copy(update={"cpu": 4096, "memory": 1 << 40}), secrets={})
    limits = raw.container(await number_of(instance, raw, "db"))["HostConfig"]
    own = raw.container(str(instance.ref.handle))["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"]) == (own["NanoCpus"], own["Memory"])


async def states_of(instance: ServedInstance) -> dict[str, ServiceState]:
    return {status.name: status.state for status in await instance.services()}


async def test_services_that_were_seen_are_frozen_without_looking_for_them(
    instance: ServedInstance, test_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("db", "cache"):
        spec = ServiceSpec(name=name, image=test_image, command=("sleep", "100000"))
        await instance.start_service(spec, secrets={})
    await instance.stop_service("cache", grace=0)
    assert await states_of(instance) == {"db": ServiceState.RUNNING, "cache": ServiceState.EXITED}
    monkeypatch.setattr(served, "list_containers", None)  # nobody asks the engine which there are
    await instance.pause_services({"db", "cache"})
    monkeypatch.undo()
    assert await states_of(instance) == {"db": ServiceState.PAUSED, "cache": ServiceState.EXITED}
    await instance.resume_services({"db"})
    assert await states_of(instance) == {"db": ServiceState.RUNNING, "cache": ServiceState.EXITED}


async def test_services_that_another_process_made_are_frozen_too(
    provider: DockerProvider, instance: ServedInstance, test_image: str
) -> None:
    spec = ServiceSpec(name="db", image=test_image, command=("sleep", "100000"))
    await instance.start_service(spec, secrets={})
    assert await states_of(instance) == {"db": ServiceState.RUNNING}
    other = await provider.attach(instance.ref)
    assert isinstance(other, ServedInstance)
    await other.start_service(spec.model_copy(update={"command": ("sleep", "200000")}), secrets={})  # it is made anew
    await other.start_service(spec.model_copy(update={"name": "cache"}), secrets={})
    await instance.pause_services({"db"})
    assert (await states_of(other))["db"] is ServiceState.PAUSED
    await instance.resume_services({"db", "cache"})
    await other.remove_service("cache")
    await other.start_service(spec.model_copy(update={"name": "cache"}), secrets={})
    await instance.pause_services({"db", "cache"})
    assert await states_of(other) == {"db": ServiceState.PAUSED, "cache": ServiceState.PAUSED}
