"""Whether an engine really keeps processes and lets them go on: tried once, on a small container that is there for nothing else.

That the engine is experimental says little: CRIU may be missing, too old for the kernel, or able to write what it cannot read again.
Found out with a workspace's own processes, it would have cost them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import Field, JsonValue

from nexus.errors import Unsupported
from nexus.models.instances import LABEL_WORKSPACE
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.creation import remove_container
from nexus.providers.docker.facts import LABEL_COPYING
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.instance import list_containers
from nexus.providers.docker.process_keeping import Proof, bring_back, cannot, keep, not_experimental
from nexus.providers.docker.shielding import finish, make_or_unmake

LABEL_TRIAL: Final = "dev.nexus.docker.trial"
"""On the container of a trial: when it was made."""
_DEADLINE: Final = 60.0
_LEFT_AFTER: Final = 600.0
"""Seconds after which nobody tries with it any more: whoever made it was killed."""
_WAITING: Final = "while :; do sleep 1; done"


class _Like(Answer):
    image: str
    config: Mapping[str, Any] = Field(default_factory=dict)


async def require(engine: Engine, proof: Proof, number: str) -> None:
    """Return when an engine keeps processes. The first call takes a second or two to find out; what it found is in ``proof``.

    Args:
        engine: The engine.
        proof: What is known of it.
        number: A container whose image, which is there, does for the trial.

    Raises:
        Unsupported: When it does not; it says why.
    """
    if not (await engine.info()).experimental_build:
        raise not_experimental()
    async with proof.turn:
        if not proof.tried:
            proof.refusal = await try_once(engine, number)
            proof.tried = True
    if proof.refusal is not None:
        raise Unsupported(proof.refusal.message, hint=proof.refusal.hint, details=proof.refusal.details)


async def try_once(engine: Engine, number: str) -> Unsupported | None:
    """Make a container, keep its process, let it go on, and remove it; return why the engine cannot, when it cannot.

    Raises:
        Unsupported: When it cannot be tried with this image, which says nothing of the engine.
    """

    async def remove(made: str) -> None:
        await remove_container(engine, made)

    await _clear(engine)
    made = await make_or_unmake(_make(engine, number), remove, limit=2 * _DEADLINE)
    try:
        await _start(engine, made)
        try:
            await keep(engine, made)
        except Unsupported as refused:
            return refused
        lost = await bring_back(engine, made)
    finally:
        await finish(remove(made), limit=2 * _DEADLINE)
    if lost is None:
        return None
    return cannot(
        f"the engine kept them in a trial, but could not let them go on ({lost})",
        hint="CRIU's log is named there, on the engine's host; an init program that is a symbolic link is one cause (--init-path)",
    )


async def _start(engine: Engine, number: str) -> None:
    try:
        async with engine.door("start a container", deadline=_DEADLINE) as docker:
            await docker.containers.container(number).start()
    except EngineRefused as exc:
        raise cannot(
            f"it cannot be tried with this workspace's image ({exc.text})", hint="an image with /bin/sh is needed"
        ) from exc


async def _make(engine: Engine, number: str) -> str:
    async with engine.door("look at a container", deadline=_DEADLINE) as docker:
        like = parse(_Like, await docker.containers.container(number).show())
    body: dict[str, JsonValue] = {
        "Image": like.image,
        "Entrypoint": ["/bin/sh", "-c", _WAITING],
        "Cmd": [],
        "User": str(like.config.get("User") or ""),
        # What its image says of whose it is must not be said of this one.
        "Labels": {LABEL_TRIAL: datetime.now(UTC).isoformat(), LABEL_COPYING: "trial", LABEL_WORKSPACE: ""},
        "HostConfig": {"NetworkMode": "none", "Init": True, "SecurityOpt": ["no-new-privileges"]},
    }
    async with engine.door("prepare a trial of keeping processes", deadline=_DEADLINE) as docker:
        return str((await docker.containers.create(body)).id)


async def _clear(engine: Engine) -> None:
    """Remove what trials have left whose process was killed."""
    for listed in await list_containers(engine, {LABEL_TRIAL: ""}, copying=True):
        if _age((listed.labels or {}).get(LABEL_TRIAL, "")) > _LEFT_AFTER:
            await remove_container(engine, listed.id)


def _age(moment: str) -> float:
    """Return how many seconds ago a trial was made."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")
