"""A docker provider, what to make with it, and a look at the engine past it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus.models.ids import NodeId, new_workspace_id, parse_name
from nexus.models.instances import LABEL_NODE, InstanceRef, InstanceSpec
from nexus.models.mounts import VolumeMount
from nexus.models.resources import CpuAllocation, MemoryAllocation, ResourceAllocation
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.provider import DockerProvider
from tests.engine.raw import RawEngine

MakeSpec = Callable[..., InstanceSpec]


@pytest.fixture
def raw(engine: str) -> RawEngine:
    """The engine, asked without the library."""
    return RawEngine(engine)


@pytest.fixture
def node(raw: RawEngine) -> Iterator[NodeId]:
    """A node of this test's own; nothing that carries its label may be left."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield NodeId(name)
    left = raw.labelled(f"{LABEL_NODE}={name}")
    raw.remove_labelled(f"{LABEL_NODE}={name}")
    assert not any(left.values()), f"left behind: {left}"


@pytest.fixture
async def provider(engine: str) -> AsyncGenerator[DockerProvider, None]:
    async with DockerProvider({"socket": engine}, env={}) as opened:
        yield opened


@pytest.fixture
async def make_spec(
    node: NodeId, test_image: str, tmp_path: Path, provider: DockerProvider
) -> AsyncGenerator[MakeSpec, None]:
    """Make specifications; whatever comes of them is destroyed afterwards."""
    made: list[InstanceSpec] = []

    def make(**changes: Any) -> InstanceSpec:
        tree = tmp_path / f"tree-{len(made)}"
        tree.mkdir()
        tree.chmod(0o777)
        spec = InstanceSpec(
            id=new_workspace_id(),
            name=parse_name(f"test-{len(made)}"),
            node=node,
            worktree=tree,
            workdir=str(tree),
            image=test_image,
            mounts=(VolumeMount(source=str(tree), target=str(tree)),),
            resources=ResourceAllocation(cpu=CpuAllocation(cores=1), memory=MemoryAllocation(bytes=256 * 1024 * 1024)),
        )
        spec = InstanceSpec.model_validate({**dict(spec), **changes})
        made.append(spec)
        return spec

    yield make
    for spec in made:
        await provider.destroy(InstanceRef(id=spec.id, name=spec.name))


@pytest.fixture
async def running(provider: DockerProvider, make_spec: MakeSpec) -> DockerInstance:
    """A workspace that runs."""
    instance = await provider.create(make_spec())
    assert isinstance(instance, DockerInstance)
    await instance.start()
    return instance
