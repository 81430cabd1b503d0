"""Secrets as files in a container's memory.

The folder is a tmpfs of the container's own: no layer of an image, no commit and no archive has it, and it is gone when the
container stops. Values arrive by a command's standard input, which neither the engine nor a process list shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio
from pydantic import JsonValue, SecretStr

from nexus.abc import ProcessHandle
from nexus.errors import InvalidArgument, SecretError, Unsupported
from nexus.models.execution import Exited, SpawnRequest

FOLDER: Final = "/run/secrets"
_SIZE: Final = "16m"
_DEADLINE: Final = 30.0
_NO_MEMORY: Final = 4

# $1 the name. 4: the folder is not in memory, so nothing is written.
_WRITE: Final = """\
umask 077
set -C
d=/run/secrets f=
while read -r line; do
  case $line in *" $d "*" - tmpfs "*) f=1 ;; esac
done </proc/self/mountinfo
[ -n "$f" ] || exit 4
rm -f "$d/.$1.new" && cat >"$d/.$1.new" && chmod 400 "$d/.$1.new" && mv -f "$d/.$1.new" "$d/$1"
"""


def mount_options(uid: int | None, gid: int | None) -> dict[str, JsonValue]:
    """Return the engine's ``Tmpfs`` setting for a container.

    Args:
        uid: Who runs inside; ``None`` where that is the image's affair.
        gid: That user's group.
    """
    owner = "mode=1777" if uid is None else f"mode=0700,uid={uid},gid={gid}"
    return {FOLDER: f"rw,noexec,nosuid,nodev,size={_SIZE},{owner}"}


async def write_files(
    spawn: Callable[[SpawnRequest], Awaitable[ProcessHandle]], files: Mapping[str, SecretStr], *, workspace: str
) -> None:
    """Write secrets, one command each.

    Args:
        spawn: Starts a command in the container.
        files: The values, by name.
        workspace: The workspace's name, for errors.

    Raises:
        SecretError: When one could not be written.
        Unsupported: When the container has no such folder in memory, because an older release made it.
    """
    for name, value in files.items():
        if not name.replace("_", "a").isalnum() or not name.isascii():
            raise InvalidArgument(f"{name!r} cannot be the name of a file in {FOLDER}")
        request = SpawnRequest(
            argv=("/bin/sh", "-c", _WRITE, "nexus", name), cwd="/", stdin=True, timeout=_DEADLINE, grace=1.0
        )
        status = await feed(await spawn(request), value.get_secret_value().encode("utf-8", "surrogateescape"))
        if status == _NO_MEMORY:
            raise Unsupported(
                f"the container of workspace {workspace!r} has no folder in memory for secrets",
                hint="an older release made it, or something else is mounted there: remove the container and start the workspace again",
                details={"capability": "secret-files", "provider": "docker"},
            )
        if status != 0:
            raise SecretError(
                f"secret {name} could not be written to {FOLDER} of workspace {workspace!r} (status {status})",
                hint="deliver it as a variable ('as: env'), or use an image with a shell, cat, chmod and mv",
                details={"name": name},
            )


async def feed(process: ProcessHandle, data: bytes) -> int | None:
    """Feed a command, and return its status once it has ended."""
    try:
        await process.write(data)
        await process.close_stdin()
        while True:
            event = await process.receive()
            if isinstance(event, Exited):
                return event.exit_code
    except BrokenPipeError:  # it ended before it read
        return await _status(process)
    finally:
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def _status(process: ProcessHandle) -> int | None:
    while True:
        event = await process.receive()
        if isinstance(event, Exited):
            return event.exit_code
