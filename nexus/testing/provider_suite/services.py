"""Cases about programs that run beside an instance."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from nexus.abc import Instance, SupportsPause, SupportsServices
from nexus.errors import NotFound, ServiceFailed, WorkspaceStopped
from nexus.models.execution import SpawnRequest
from nexus.models.instances import Capability
from nexus.models.services import ServiceSpec, ServiceState
from nexus.testing.expecting import ExpectationFailed, eventually, expect, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, ProviderCase, case, finish, shell

_STAY: Final = 'echo "value $VALUE"; trap "echo bye; exit 0" TERM; while :; do sleep 0.05; done'


def _beside(instance: Instance) -> SupportsServices:
    if not isinstance(instance, SupportsServices):
        raise ExpectationFailed("the provider has the capability services, so its instances implement SupportsServices")
    return instance


async def _prepared(check: Check, beside: SupportsServices, script: str = _STAY, **fields: object) -> ServiceSpec:
    wanted = {
        "name": "one",
        "image": check.spec().image,
        "command": ("sh", "-c", script),
        "env": {"VALUE": "1"},
        **fields,
    }
    return await beside.prepare_service(ServiceSpec.model_validate(wanted))


async def _state(beside: SupportsServices, name: str = "one") -> ServiceState:
    found = {status.name: status.state for status in await beside.services()}
    return found.get(name, ServiceState.ABSENT)


async def _log(beside: SupportsServices, *, tail: int | None = None) -> bytes:
    async with aclosing(beside.service_logs("one", tail=tail)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def _says(beside: SupportsServices, wanted: bytes) -> None:
    async def said() -> bool:
        return wanted in await _log(beside)

    await eventually(said, f"the service's log holds {wanted!r}")


@case(Capability.SERVICES)
async def service_runs_beside_its_instance(check: Check) -> None:
    """A service runs, is seen, prints into a log of its own, ends when it is told to, and runs again."""
    beside = _beside(await check.running())
    expect_equal(await beside.services(), (), "the services of a new instance")
    service = await _prepared(check, beside)
    await beside.start_service(service, secrets={})
    expect_equal(await _state(beside), ServiceState.RUNNING, "the state of a service that was started")
    await _says(beside, b"value 1\n")
    process = await beside.spawn_in_service("one", shell("cat; echo in $VALUE"))
    check.cleanup.push_async_callback(process.aclose)
    await process.receive()
    ran = await finish(process, whole=True)
    expect_equal(ran.stdout, b"in 1\n", "what a command prints where the service runs")
    await beside.stop_service("one", grace=10.0)
    expect_equal(await _state(beside), ServiceState.EXITED, "the state of a service that was stopped")
    await _says(beside, b"bye\n")
    await beside.stop_service("one", grace=10.0)
    await beside.start_service(service, secrets={})
    expect_equal(await _state(beside), ServiceState.RUNNING, "the state of a service that was started again")


@case(Capability.SERVICES)
async def service_is_made_again_when_it_changed(check: Check) -> None:
    """Starting a service that runs as it is described does nothing; one whose description changed is made again."""
    beside = _beside(await check.running())
    service = await _prepared(check, beside)
    await beside.start_service(service, secrets={})
    await _says(beside, b"value 1\n")
    await beside.start_service(service, secrets={})
    expect_equal((await _log(beside)).count(b"value"), 1, "how often an unchanged service was started")
    await beside.start_service(service.model_copy(update={"env": {"VALUE": "2"}}), secrets={})
    await _says(beside, b"value 2\n")
    expect_equal([status.name for status in await beside.services()], ["one"], "the services")


@case(Capability.SERVICES)
async def service_that_ends_says_how(check: Check) -> None:
    """A service that ended by itself shows its status; one whose program is not there fails or ends with 127."""
    beside = _beside(await check.running())
    await beside.start_service(await _prepared(check, beside, "exit 7"), secrets={})

    async def ended() -> bool:
        return await _state(beside) is ServiceState.EXITED

    await eventually(ended, "a service that ends is seen as exited")
    expect_equal([status.exit_code for status in await beside.services()], [7], "the status that it ended with")
    await beside.remove_service("one")
    broken = await _prepared(check, beside, command=("no-such-program",))
    try:
        await beside.start_service(broken, secrets={})
    except ServiceFailed as error:
        expect("'one'" in str(error), f"the error names the service: {error}")
        return
    # Where an init stands above it, that is what was started, and what says so.
    await eventually(ended, "a service without its program has ended")
    expect_equal([status.exit_code for status in await beside.services()], [127], "the status of a missing program")


@case(Capability.SERVICES, Capability.PAUSE)
async def services_are_frozen_and_let_go(check: Check) -> None:
    """Services can be frozen and let go with their instance, and ended while they are frozen."""
    instance = await check.running()
    beside = _beside(instance)
    await beside.start_service(await _prepared(check, beside), secrets={})
    if not isinstance(instance, SupportsPause):
        raise ExpectationFailed("the provider has the capability pause, so its instances implement SupportsPause")
    await beside.pause_services({"one"})
    await instance.pause()
    expect_equal(await _state(beside), ServiceState.PAUSED, "the state of a service while all is frozen")
    await instance.resume()
    await beside.resume_services({"one"})
    await beside.resume_services()
    expect_equal(await _state(beside), ServiceState.RUNNING, "the state of a service that may go on")
    await beside.pause_services()
    await instance.pause()
    await beside.stop_service("one", grace=5.0)
    await instance.stop(grace=5.0)
    expect_equal(await _state(beside), ServiceState.EXITED, "the state of a service after the instance was stopped")


@case(Capability.SERVICES)
async def services_need_an_instance_that_runs(check: Check) -> None:
    """No service starts beside an instance that does not run; one that nobody knows is NotFound."""
    instance = await check.created()
    beside = _beside(instance)
    service = await _prepared(check, beside)
    await expect_error(
        WorkspaceStopped, lambda: beside.start_service(service, secrets={}), "a service beside a stopped instance"
    )
    await instance.start()
    await expect_error(
        NotFound, lambda: beside.spawn_in_service("none", SpawnRequest(argv=("true",))), "a command in no service"
    )
    await beside.stop_service("none", grace=1.0)
    await beside.remove_service("none")


@case(Capability.SERVICES)
async def services_go_with_their_instance(check: Check) -> None:
    """A service can be removed alone, and destroying the instance removes all of them."""
    instance = await check.running()
    beside = _beside(instance)
    service = await _prepared(check, beside)
    await beside.start_service(service, secrets={})
    await beside.remove_service("one")
    expect_equal(await beside.services(), (), "the services after the only one was removed")
    await beside.start_service(service, secrets={})
    listed = [status.ref.id for status in await check.provider.list() if status.ref.id == instance.ref.id]
    expect_equal(listed, [instance.ref.id], "how often an instance with a service is listed")
    await check.provider.destroy(instance.ref)
    expect_equal(await beside.services(), (), "the services of an instance that was destroyed")


CASES: Final[tuple[ProviderCase, ...]] = (
    service_runs_beside_its_instance,
    service_is_made_again_when_it_changed,
    service_that_ends_says_how,
    services_are_frozen_and_let_go,
    services_need_an_instance_that_runs,
    services_go_with_their_instance,
)
