"""Copying volumes on the engine, wherever that is, without running anything.

An engine reads and writes the volumes of containers that were made and never started. So a pair of those is made for each copy:
one mounts what is read, the other what is written, and an archive goes from one to the other. Owners, modes, links and times go
over; extended attributes of users do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import quote

from pydantic import JsonValue

from nexus.models.ids import CheckpointId
from nexus.models.instances import LABEL_WORKSPACE
from nexus.providers.docker.client import Engine
from nexus.providers.docker.creation import remove_container
from nexus.providers.docker.facts import LABEL_COPYING
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.shielding import finish, make_or_unmake

_FOLDER: Final = "/nexus-copying"
_PLACE: Final = f"{_FOLDER}/volume"
_DEADLINE: Final = 60.0
_COPY_DEADLINE: Final = 1800.0
_PIECE: Final = 1 << 20
_AT_ONCE: Final = 3


class Copy(NamedTuple):
    """One volume to copy."""

    source: str
    target: str
    labels: Mapping[str, str]
    """Labels of the target, when it is made here."""


async def copy_volumes(engine: Engine, copies: Iterable[Copy], *, image: str, key: CheckpointId) -> dict[str, int]:
    """Copy volumes, some at once. Targets that are not there are made.

    Args:
        engine: The engine.
        copies: What to copy where.
        image: An image that is on the engine. Nothing of it runs.
        key: By which what a killed process leaves is found.

    Returns:
        Bytes that went over, by the name of the source.

    Cancellation: what was made for copying is removed; targets stay, half filled.
    """
    turn = asyncio.Semaphore(_AT_ONCE)
    sizes: dict[str, int] = {}

    async def one(copy: Copy) -> None:
        async with turn:
            await create_volume(engine, copy.target, copy.labels)
            sizes[copy.source] = await _copy(engine, copy, image, key)

    async with asyncio.TaskGroup() as group:
        for copy in copies:
            group.create_task(one(copy))
    return sizes


async def create_volume(engine: Engine, name: str, labels: Mapping[str, str]) -> None:
    """Make a volume; one that is there stays as it is."""
    body: dict[str, JsonValue] = {"Name": name, "Labels": {**labels}}
    async with engine.stream("make a volume", "POST", "volumes/create", json=body, deadline=_DEADLINE):
        pass


async def has_volume(engine: Engine, name: str) -> bool:
    """Return whether the engine has a volume of this name."""
    try:
        async with engine.stream("look at a volume", "GET", f"volumes/{quote(name, safe='')}"):
            return True
    except EngineRefused as exc:
        if exc.status == 404:
            return False
        raise


async def _copy(engine: Engine, copy: Copy, image: str, key: CheckpointId) -> int:
    async with (
        _holder(engine, copy.source, image, key, read_only=True) as reading,
        _holder(engine, copy.target, image, key, read_only=False) as writing,
        engine.stream(
            "read a volume",
            "GET",
            f"containers/{reading}/archive",
            params={"path": _PLACE},
            deadline=_COPY_DEADLINE,
        ) as reply,
    ):
        size = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in reply.content.iter_chunked(_PIECE):
                size += len(piece)
                yield piece

        async with engine.stream(
            "write a volume",
            "PUT",
            f"containers/{writing}/archive",
            params={"path": _FOLDER},
            data=pieces(),
            headers={"Content-Type": "application/x-tar"},
            deadline=_COPY_DEADLINE,
        ):
            pass
    return size


@asynccontextmanager
async def _holder(
    engine: Engine, volume: str, image: str, key: CheckpointId, *, read_only: bool
) -> AsyncGenerator[str, None]:
    """Give a container that mounts a volume and is never started."""
    mount: JsonValue = {
        "Type": "volume",
        "Source": volume,
        "Target": _PLACE,
        "ReadOnly": read_only,
        "VolumeOptions": {"NoCopy": True},
    }
    body: dict[str, JsonValue] = {
        "Image": image,
        "Entrypoint": ["/nexus-is-never-started"],
        "Cmd": [],
        # What its image says of whose it is must not be said of this one.
        "Labels": {LABEL_COPYING: str(key), LABEL_WORKSPACE: ""},
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount]},
    }

    async def create() -> str:
        async with engine.door("prepare the copy of a volume", deadline=_DEADLINE) as docker:
            return str((await docker.containers.create(body)).id)

    number = await make_or_unmake(create(), lambda made: remove_container(engine, made), limit=2 * _DEADLINE)
    try:
        yield number
    finally:
        await finish(remove_container(engine, number), limit=2 * _DEADLINE)
