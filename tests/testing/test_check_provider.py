"""The suite finds what it is there to find: providers that break one promise each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import pytest

from nexus.abc import Instance, ProcessHandle, ProgressCallback
from nexus.errors import WorkspaceStopped
from nexus.models.execution import ExecEvent, Exited, Output, SpawnRequest
from nexus.models.ids import ExecId, NodeId, new_workspace_id, parse_name
from nexus.models.instances import InstanceRef, InstanceSpec, InstanceState, InstanceStatus, ProviderInfo
from nexus.providers.mock import MockProvider
from nexus.testing import (
    PROVIDER_CASES,
    CaseResult,
    MakeSubject,
    Outcome,
    ProviderSubject,
    Report,
    check_provider,
    run_provider_case,
)


class Process:
    """A process handle that passes everything on; broken ones change one thing."""

    def __init__(self, inner: ProcessHandle, request: SpawnRequest) -> None:
        self.inner = inner
        self.request = request

    @property
    def exec_id(self) -> ExecId:
        return self.inner.exec_id

    async def receive(self) -> ExecEvent:
        return await self.inner.receive()

    async def write(self, data: bytes) -> None:
        await self.inner.write(data)

    async def close_stdin(self) -> None:
        await self.inner.close_stdin()

    async def signal(self, number: int) -> None:
        await self.inner.signal(number)

    async def resize(self, rows: int, cols: int) -> None:
        await self.inner.resize(rows, cols)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Place:
    """An instance that passes everything on."""

    process: type[Process] = Process

    def __init__(self, inner: Instance) -> None:
        self.inner = inner

    @property
    def ref(self) -> InstanceRef:
        return self.inner.ref

    async def status(self) -> InstanceStatus:
        return await self.inner.status()

    async def start(self) -> None:
        await self.inner.start()

    async def stop(self, *, grace: float = 10.0) -> None:
        await self.inner.stop(grace=grace)

    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        return self.process(await self.inner.spawn(request), request)


class Provider:
    """A provider that passes everything on."""

    place: type[Place] = Place

    def __init__(self) -> None:
        self.inner = MockProvider({"without": ["pty"]})

    @property
    def name(self) -> str:
        return "broken"

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.inner.__aexit__(kind, error, trace)

    async def probe(self) -> ProviderInfo:
        return ProviderInfo(name=self.name, available=True)

    async def prepare(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> InstanceSpec:
        return await self.inner.prepare(spec, progress=progress)

    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> Instance:
        return self.place(await self.inner.create(spec, progress=progress))

    async def attach(self, ref: InstanceRef) -> Instance:
        return self.place(await self.inner.attach(ref))

    async def list(self, labels: Mapping[str, str] | None = None) -> tuple[InstanceStatus, ...]:
        return await self.inner.list(labels)

    async def destroy(self, ref: InstanceRef) -> None:
        await self.inner.destroy(ref)


class LosesShortOutput(Process):
    async def receive(self) -> ExecEvent:
        event = await self.inner.receive()
        if isinstance(event, Output) and self.request.argv[0] == "echo" and event.data.endswith(b"7\n"):
            return await self.inner.receive()
        return event


class LosesWhatACancelledReceiveTook(Process):
    async def receive(self) -> ExecEvent:
        event = await self.inner.receive()
        await anyio.sleep(0.0007)
        return event


class EndsTwice(Process):
    ended = False

    async def receive(self) -> ExecEvent:
        try:
            return await self.inner.receive()
        except anyio.EndOfStream:
            if self.ended:
                raise
            self.ended = True
            return Exited(exit_code=0)


class HidesTheTimeLimit(Process):
    async def receive(self) -> ExecEvent:
        event = await self.inner.receive()
        return Exited(exit_code=event.exit_code) if isinstance(event, Exited) else event


class LetsGoWithoutEnding(Process):
    async def aclose(self) -> None:
        return


class UsesAShell(Place):
    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        return await self.inner.spawn(SpawnRequest(argv=("sh", "-c", " ".join(request.argv)), stdin=request.stdin))


class DropsTheUser(Place):
    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        return await self.inner.spawn(SpawnRequest(argv=request.argv, env=request.env, cwd=request.cwd))


class StartsOnSpawn(Place):
    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        await self.inner.start()
        return await self.inner.spawn(request)


class LeavesTheDead(Provider):
    async def destroy(self, ref: InstanceRef) -> None:
        instance = await self.inner.attach(ref)
        if (await instance.status()).state is not InstanceState.GONE:
            await instance.stop(grace=0.0)


class FailsOnTheMissing(Provider):
    async def destroy(self, ref: InstanceRef) -> None:
        if (await (await self.inner.attach(ref)).status()).state is InstanceState.GONE:
            raise WorkspaceStopped("nothing to destroy")
        await self.inner.destroy(ref)


class MakesAnotherEachTime(Provider):
    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> Instance:
        return await super().create(spec.model_copy(update={"id": new_workspace_id()}), progress=progress)


class StartsWhatItCreates(Provider):
    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> Instance:
        made = await super().create(spec, progress=progress)
        await made.start()
        return made


class IgnoresLabels(Provider):
    async def list(self, labels: Mapping[str, str] | None = None) -> tuple[InstanceStatus, ...]:
        del labels
        return await self.inner.list()


def provider_of(part: type[Process | Place | Provider]) -> Provider:
    if issubclass(part, Provider):
        return part()
    made = Provider()
    made.place = part if issubclass(part, Place) else type("Holder", (Place,), {"process": part})
    return made


def subject(tmp_path: Path, make_provider: Callable[[], Provider]) -> MakeSubject:
    def spec() -> InstanceSpec:
        identity = new_workspace_id()
        tree = tmp_path / identity
        tree.mkdir()
        return InstanceSpec(id=identity, name=parse_name("case"), node=NodeId("n"), worktree=tree, workdir=str(tree))

    @asynccontextmanager
    async def make() -> AsyncGenerator[ProviderSubject, None]:
        async with make_provider() as provider:
            yield ProviderSubject(provider=provider, make_spec=spec, patience=3.0, bulk=1024 * 1024)

    return make


async def test_a_provider_that_passes_everything_on_keeps_every_promise(tmp_path: Path) -> None:
    report = await check_provider(subject(tmp_path, Provider))

    report.raise_for_failures()
    assert report.ok
    assert len(report.results) == len(PROVIDER_CASES)
    reasons = {result.reason for result in report.of(Outcome.NOT_APPLICABLE)}
    assert {"no capability pause", "no capability pty", "the subject has no second provider"} <= reasons


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (LosesShortOutput, "no-output-is-lost"),
        (LosesWhatACancelledReceiveTook, "a-cancelled-receive-loses-nothing"),
        (EndsTwice, "events-come-in-order"),
        (HidesTheTimeLimit, "a-time-limit-ends-the-group"),
        (LetsGoWithoutEnding, "letting-go-ends-the-group"),
        (UsesAShell, "words-are-never-interpreted"),
        (DropsTheUser, "another-user-is-refused"),
        (DropsTheUser, "a-terminal-is-refused"),
        (StartsOnSpawn, "a-stopped-instance-runs-nothing"),
        (LeavesTheDead, "destroy-running"),
        (FailsOnTheMissing, "destroy-nothing"),
        (MakesAnotherEachTime, "create-twice-makes-one"),
        (StartsWhatItCreates, "create-leaves-it-stopped"),
        (IgnoresLabels, "list-by-labels"),
    ],
)
async def test_a_broken_promise_is_found(part: type[Process | Place | Provider], name: str, tmp_path: Path) -> None:
    (case,) = [case for case in PROVIDER_CASES if case.name == name]

    result = await run_provider_case(case, subject(tmp_path, lambda: provider_of(part)))

    assert result.outcome is Outcome.FAILED
    assert result.reason
    with pytest.raises(AssertionError, match=name):
        result.raise_for_failure()


async def test_a_case_cleans_up_behind_itself(tmp_path: Path) -> None:
    kept = MockProvider()
    async with kept:

        class Kept(Provider):
            def __init__(self) -> None:
                self.inner = kept

        for case in PROVIDER_CASES[:10]:
            await run_provider_case(case, subject(tmp_path, Kept))

        assert await kept.list() == ()


async def test_a_provider_that_hangs_fails(tmp_path: Path) -> None:
    class Hangs(Provider):
        async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> Instance:
            await anyio.sleep_forever()
            return await super().create(spec, progress=progress)

    make = subject(tmp_path, Hangs)

    @asynccontextmanager
    async def impatient() -> AsyncGenerator[ProviderSubject, None]:
        async with make() as made:
            yield ProviderSubject(provider=made.provider, make_spec=made.make_spec, patience=0.05)

    (case,) = [case for case in PROVIDER_CASES if case.name == "create-leaves-it-stopped"]
    result = await run_provider_case(case, impatient)

    assert result.reason == "the case did not end within 0.05 s"


def test_a_report_shows_every_case() -> None:
    report = Report(
        subject="acme",
        results=(
            CaseResult(name="one", outcome=Outcome.PASSED),
            CaseResult(name="two", outcome=Outcome.FAILED, reason="expected 1, got 2", error=ValueError("x")),
            CaseResult(name="three", outcome=Outcome.NOT_APPLICABLE, reason="no capability pty"),
        ),
    )

    assert str(report).splitlines() == [
        "acme: 1 passed, 1 failed, 1 not applicable",
        "passed          one",
        "failed          two  (expected 1, got 2)",
        "not applicable  three  (no capability pty)",
    ]
    assert not report.ok
    with pytest.raises(AssertionError, match=r"acme fails 1 of 3 cases:\n  two: expected 1, got 2") as caught:
        report.raise_for_failures()
    assert isinstance(caught.value.__cause__, ValueError)
