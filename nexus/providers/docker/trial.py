"""Whether an engine really keeps processes and lets them go on: tried once, on a small container that is there for nothing else.

That the engine is experimental says little: CRIU may be missing, too old for the kernel, or able to write what it cannot read again.
Found out with a workspace's own processes, it would have cost them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, JsonValue

from nexus.errors import Unsupported
from nexus.models.ids import new_checkpoint_id
from nexus.models.instances import LABEL_NAME, LABEL_NODE, LABEL_REPOSITORY, LABEL_WORKSPACE
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.creation import remove_container
from nexus.providers.docker.facts import LABEL_COPYING, LABEL_TRIAL
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.process_keeping import Proof, bring_back, cannot, keep, not_experimental
from nexus.providers.docker.shielding import finish, make_or_unmake

_DEADLINE: Final = 60.0
_WAITING: Final = "sleep 300"
"""What it does: nothing, and not for ever, in case that nobody is there any more to end it."""
_WHOSE: Final = (LABEL_NAME, LABEL_NODE, LABEL_REPOSITORY)


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

    made = await make_or_unmake(make(engine, number), remove, limit=2 * _DEADLINE)
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


async def make(engine: Engine, number: str) -> str:
    """Make the container of a trial from the image of another one, and return its id."""
    async with engine.door("look at a container", deadline=_DEADLINE) as docker:
        like = parse(_Like, await docker.containers.container(number).show())
    # It is no workspace's container, whatever its image says. What a killed process leaves of it is found like copies that are left.
    labels = like.config.get("Labels") or {}
    whose = {key: str(labels[key]) for key in _WHOSE if key in labels}
    body: dict[str, JsonValue] = {
        "Image": like.image,
        "Entrypoint": ["/bin/sh", "-c", _WAITING],
        "Cmd": [],
        "User": str(like.config.get("User") or ""),
        "Labels": {**whose, LABEL_TRIAL: "yes", LABEL_COPYING: str(new_checkpoint_id()), LABEL_WORKSPACE: ""},
        "HostConfig": {"NetworkMode": "none", "Init": True, "SecurityOpt": ["no-new-privileges"]},
    }
    async with engine.door("prepare a trial of keeping processes", deadline=_DEADLINE) as docker:
        return str((await docker.containers.create(body)).id)
