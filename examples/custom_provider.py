"""A backend of your own: everything in a workspace runs with a lower priority, so that it never gets in the way.

It wraps the local backend and puts ``nice`` in front of every command. Run it in any git repository:
``python -m examples.custom_provider [FOLDER]``; with ``--check`` it goes through the conformance suite instead.
"""

# ruff: noqa: D102 - the docstrings of nexus.abc.Provider and nexus.abc.Instance say what each method promises

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from pydantic import JsonValue

import nexus
import nexus.providers
from nexus.abc import Instance, ProcessHandle, ProgressCallback
from nexus.models.execution import SpawnRequest
from nexus.models.ids import NodeId, new_workspace_id, slugify
from nexus.models.instances import Capability, InstanceRef, InstanceSpec, InstanceStatus, ProviderInfo
from nexus.testing import ProviderSubject, Report, check_provider


class NiceInstance:
    """One place, with a lower priority. An ``Instance`` needs no base class: these five members make it one."""

    def __init__(self, inner: Instance, niceness: int) -> None:
        self._inner = inner
        self._niceness = niceness

    @property
    def ref(self) -> InstanceRef:
        return self._inner.ref

    async def status(self) -> InstanceStatus:
        return await self._inner.status()

    async def start(self) -> None:
        await self._inner.start()

    async def stop(self, *, grace: float = 10.0) -> None:
        await self._inner.stop(grace=grace)

    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        argv = ("nice", "-n", str(self._niceness), *request.argv)
        return await self._inner.spawn(replace(request, argv=argv))


class NiceProvider:
    """Makes and finds such places. The option ``niceness`` is ours; the others are the local backend's."""

    name = "nice"

    def __init__(self, options: Mapping[str, JsonValue]) -> None:
        self._niceness = int(str(options.get("niceness", 10)))
        self._inner = nexus.providers.load_provider("local", {k: v for k, v in options.items() if k != "niceness"})

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    async def probe(self) -> ProviderInfo:
        # Claim what the instances have, no more: ours cannot pause, and show neither logs nor stats.
        info = await self._inner.probe()
        kept = info.capabilities & {Capability.HOST_TREE, Capability.PTY, Capability.SIGNALS}
        return info.model_copy(update={"name": self.name, "capabilities": kept})

    async def prepare(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> InstanceSpec:
        return await self._inner.prepare(spec, progress=progress)

    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> NiceInstance:
        return NiceInstance(await self._inner.create(spec, progress=progress), self._niceness)

    async def attach(self, ref: InstanceRef) -> NiceInstance:
        return NiceInstance(await self._inner.attach(ref), self._niceness)

    async def list(self, labels: Mapping[str, str] | None = None) -> tuple[InstanceStatus, ...]:
        return await self._inner.list(labels)

    async def destroy(self, ref: InstanceRef) -> None:
        await self._inner.destroy(ref)


async def main(folder: str) -> None:
    """Use it: register a factory, then name it as the backend."""
    providers = nexus.providers.ProviderRegistry()
    providers.register("nice", NiceProvider)
    async with (
        nexus.open(folder, flags={"backend": "nice"}, providers=providers) as nx,
        nx.create("gentle") as ws,
    ):
        print("backend   ", ws.info.backend)
        print("niceness  ", (await ws.exec("nice", check=True)).stdout.strip())


async def check(folder: Path) -> Report:
    """Prove it: say how one is opened and what a specification looks like, and read the report."""
    options: dict[str, JsonValue] = {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")}

    def make_spec() -> InstanceSpec:
        identity = new_workspace_id()
        tree = folder / identity
        tree.mkdir()
        return InstanceSpec(id=identity, name=slugify("case"), node=NodeId("example"), worktree=tree, workdir=str(tree))

    @asynccontextmanager
    async def subject() -> AsyncGenerator[ProviderSubject, None]:
        async with NiceProvider(options) as provider:
            yield ProviderSubject(provider=provider, make_spec=make_spec, reopen=lambda: NiceProvider(options))

    return await check_provider(subject)


if __name__ == "__main__":
    if "--check" in sys.argv:
        with tempfile.TemporaryDirectory() as scratch:
            print(anyio.run(check, Path(scratch)))
    else:
        anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else ".")
