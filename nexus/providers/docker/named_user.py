"""The name of who runs inside, as the image knows it, together with the host user's ids.

An image that is made for development has a user: a name, a home folder with tools in it, a shell. A worktree belongs to the
host's user, and only programs with that user's ids can write it and leave files there that are the user's. So the name is given
those ids, in an image of its own on top of the one that was asked for::

    nexus-user:<hash>     FROM the image; the user's line of /etc/passwd first and with these ids, its home folder theirs

Programs inside are started with the numbers, never by the name: an image can write what it likes into its ``/etc/passwd``, and
still nobody in it gets other ids than those that were chosen outside.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from typing import Final

from pydantic import Field, ValidationError

from nexus.abc import ProgressCallback
from nexus.errors import BuildFailed
from nexus.providers.docker.client import Answer, Engine
from nexus.providers.docker.container_config import Identity
from nexus.providers.docker.facts import LABEL_NAMED, Config, Image
from nexus.providers.docker.images import find_image, has_image, missing, send_build

REPOSITORY: Final = "nexus-user"
USER_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", re.ASCII)
"""Names that an image's user can have here; anything else is no name in ``/etc/passwd`` either."""
METADATA: Final = "devcontainer.metadata"
"""The label in which images for dev containers say who works in them."""
_LONGEST_METADATA: Final = 256 * 1024
_DEADLINE: Final = 600.0
_NO_USER: Final = 67
_LABELS: Final = {"dev.nexus.image": "user"}

# $1 the name, $2 and $3 the ids, in decimal. Only what is part of every shell, and chown, mkdir, cat and rm. The line comes first,
# so that the ids mean this name also where another user of the image has them. /etc is written in place: it may be a mount.
_GIVE_IDS: Final = r"""set -eu
umask 022
user= home= shell= comment=
while IFS=: read -r n _ _ _ c h s || [ -n "$n" ]; do
  if [ "$n" = "$1" ] && [ -z "$user" ]; then user=$n comment=$c home=$h shell=$s; fi
done </etc/passwd
[ -n "$user" ] || exit 67
case $home in /?*) ;; *) home=/home/$1 ;; esac
first() {
  new=$(printf '%s\n' "$2"; while IFS= read -r line || [ -n "$line" ]; do
    case $line in "$user":*) ;; *) printf '%s\n' "$line" ;; esac
  done <"$1")
  printf '%s\n' "$new" >"$1"
}
[ -e /etc/group ] || : >/etc/group
first /etc/passwd "$user:x:$2:$3:$comment:$home:$shell"
first /etc/group "$user:x:$3:"
[ -d "$home" ] || mkdir -p "$home"
chown -hR "$2:$3" "$home"
"""


class _Says(Answer):
    """One entry of an image's metadata."""

    remote_user: str | None = Field(default=None, alias="remoteUser")
    container_user: str | None = Field(default=None, alias="containerUser")


def own_user(config: Config | None) -> str | None:
    """Return the name of the user that an image is meant to be used as; ``None`` when it is root, a number, or nobody. Pure.

    What its metadata for dev containers says ranks before its ``USER``; the last entry that names one counts, and a ``remoteUser``
    before a ``containerUser``.
    """
    if config is None:
        return None
    for name in (*_metadata_users((config.labels or {}).get(METADATA, "")), config.user.partition(":")[0]):
        if name:
            return name if USER_NAME.fullmatch(name) and name != "root" else None
    return None


def _metadata_users(text: str) -> tuple[str, ...]:
    if not text or len(text) > _LONGEST_METADATA:
        return ()
    try:
        raw = json.loads(text)
        said = [_Says.model_validate(entry) for entry in (raw if isinstance(raw, list) else [raw])]
    except (ValueError, RecursionError, ValidationError):
        return ()  # somebody else's label, which may hold anything
    remote = [one.remote_user for one in said if one.remote_user]
    container = [one.container_user for one in said if one.container_user]
    return (*remote[-1:], *container[-1:])


def named_label(name: str, identity: Identity) -> str:
    """Return what an image carries in which the name has these ids."""
    return f"{name}:{identity.uid}:{identity.gid}"


async def ensure_named(
    engine: Engine,
    image: str,
    name: str,
    identity: Identity,
    *,
    found: Image | None = None,
    progress: ProgressCallback | None = None,
) -> str:
    """Have the image in which the name has the ids, and return its name. Made once for an image, a name and ids.

    An image that holds a container's files has that behind it, and is returned itself.

    Args:
        engine: The engine.
        image: The image that is asked for.
        name: The user.
        identity: The ids.
        found: The image as the engine has just described it; asked for when absent.
        progress: Told when one has to be made.

    Raises:
        ImageNotFound: When the image is not on the engine.
        BuildFailed: When the image has no such user, or no shell and ``chown`` to give it the ids with.
    """
    found = found or await find_image(engine, image)
    if found is None:
        raise missing(image)
    wanted = named_label(name, identity)
    if found.config is not None and (found.config.labels or {}).get(LABEL_NAMED) == wanted:
        return image
    text = _dockerfile(image, name, identity, found.config)
    tag = f"{REPOSITORY}:{hashlib.sha256((found.id + text).encode()).hexdigest()[:32]}"
    if await has_image(engine, tag):
        return tag
    if progress is not None:
        progress("image", f"giving the user {name} of {image} the ids {identity.uid}:{identity.gid}")
    try:
        await send_build(
            engine,
            _archive(text),
            tag,
            title=image,
            hint="",
            params={"networkmode": "none"},
            labels={**_LABELS, LABEL_NAMED: wanted},
            deadline=_DEADLINE,
        )
    except BuildFailed as error:
        raise _explained(error, image, name) from error
    return tag


def _explained(error: BuildFailed, image: str, name: str) -> BuildFailed:
    text = error.message
    if f"returned a non-zero code: {_NO_USER}" in text or f"exit status {_NO_USER}" in text:
        return BuildFailed(
            f"the image {image} has no user {name!r}",
            hint="correct 'backend.docker.remote_user' (a dev container's 'remoteUser'), or make the user in a Dockerfile",
            details={"image": image, "user": name},
        )
    return BuildFailed(
        f"the user {name!r} of the image {image} could not be given your ids: {text.rpartition('built: ')[2]}",
        hint="the image needs /bin/sh, chown and mkdir for that; without 'backend.docker.remote_user' nothing of the kind is needed",
        details={**error.details, "image": image, "user": name},
    )


def _dockerfile(image: str, name: str, identity: Identity, config: Config | None) -> str:
    run = json.dumps(["/bin/sh", "-c", _GIVE_IDS, "nexus", name, str(identity.uid), str(identity.gid)])
    back = config.user if config is not None and re.fullmatch(r"[A-Za-z0-9_.:-]+", config.user, re.ASCII) else "root"
    return f"FROM {image}\nUSER 0:0\nRUN {run}\nUSER {back}\n"


def _archive(dockerfile: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size, entry.mode = len(dockerfile), 0o644
        archive.addfile(entry, io.BytesIO(dockerfile.encode()))
    return buffer.getvalue()
