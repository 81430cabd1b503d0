"""Secret variables of a service: given to its main process and to nothing that anybody else reads.

What a container is made with (``Config.Env``) can be read by everybody who may ask the engine, and a commit writes it down. So a
service with secret variables begins with a gate, its image's own shell: it waits, reads the variables from a folder in the
container's memory, removes them there and becomes the service. They arrive by a command's standard input, once after each start.

The engine must not start such a container by itself: nobody would be there to hand the variables out again. So where the service
has a restart policy, the gate keeps it: the shell stays, hands signals on, and begins the service again with what it remembers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from nexus.errors import ServiceFailed, Unsupported
from nexus.models.execution import SpawnRequest
from nexus.models.services import ServiceSpec

FOLDER: Final = "/run/nexus-gate"
TMPFS: Final[dict[str, JsonValue]] = {FOLDER: "rw,noexec,nosuid,nodev,size=1m,mode=1777"}
DEADLINE: Final = 30.0
_PATIENCE: Final = 120
"""Seconds that a gate waits; when whoever started the container was killed, it ends, and the next start hands out anew."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

# The gate's own names begin with two underscores: no variable of the image, nor one that is handed out, is one of them.
_OPEN: Final = f"""\
__d={FOLDER} __n=0 __u=$(umask)
umask 077
: >$__d/waiting
until [ -e $__d/given ]; do
  __n=$((__n + 1)) && [ $__n -lt {_PATIENCE * 10} ] || {{ echo 'nexus: its variables were not handed out' >&2; exit 125; }}
  sleep .1 2>/dev/null || {{ sleep 1; __n=$((__n + 9)); }}
done
. $__d/given
: >$__d/taken
rm -f $__d/given $__d/waiting
umask "$__u"
"""
_ONCE: Final = _OPEN + 'exec "$@"\n'
_AGAIN: Final = (
    _OPEN
    + """\
__p=$1 __m=$2 __c= __over= __t=0 __n=1
shift 2
for __s in TERM INT QUIT HUP USR1 USR2; do
  case $__s in TERM | INT | QUIT) __o='__over=1;' ;; *) __o= ;; esac
  trap "$__o"' [ -z "$__c" ] || kill -'$__s' "$__c" 2>/dev/null' $__s
done
while :; do
  __b=$(date +%s)
  "$@" &
  __c=$!
  while :; do
    wait "$__c"
    __e=$?
    kill -0 "$__c" 2>/dev/null || break
  done
  __c=
  [ -z "$__over" ] || exit "$__e"
  [ "$__p$__e" != on-failure0 ] || exit 0
  __t=$((__t + 1))
  [ "$__m" = 0 ] || [ $__t -le "$__m" ] || exit "$__e"
  [ $(($(date +%s) - __b)) -lt 10 ] || __n=1
  sleep $__n &
  __c=$!
  wait "$__c"
  __c=
  [ -z "$__over" ] || exit "$__e"
  [ $__n -ge 60 ] || __n=$((__n * 2))
done
"""
)
# Waits until the gate does, which was started a moment ago or long ago. 0: handed out, now or before. 3: there is no gate.
_GIVE: Final = f"""\
d={FOLDER} n=0
umask 077
until [ -e $d/waiting ] || [ -e $d/taken ]; do
  n=$((n + 1)) && [ $n -lt 200 ] || exit 3
  sleep .1 2>/dev/null || sleep 1
done
[ ! -e $d/taken ] || exit 0
cat >$d/.new && mv -f $d/.new $d/given
"""


def gate(service: ServiceSpec, entrypoint: Sequence[str], command: Sequence[str]) -> dict[str, JsonValue]:
    """Return ``Entrypoint`` and ``Cmd`` of a container that begins with a gate. Pure.

    Args:
        service: What is to run.
        entrypoint: The image's own, used where the service has none.
        command: The image's own, used where the service has neither.

    Raises:
        ServiceFailed: When there is nothing to run.
    """
    words = [*(service.entrypoint if service.entrypoint is not None else entrypoint)]
    if service.command is not None:
        words += service.command
    elif service.entrypoint is None:
        words += command
    if not words:
        raise ServiceFailed(
            f"service {service.name!r} has no command, and neither has its image",
            service=service.name,
            hint=f"set services.{service.name}.command",
        )
    policy, _, times = service.restart.partition(":")
    if policy == "no":
        return {"Entrypoint": ["/bin/sh", "-c", _ONCE, "nexus"], "Cmd": [*words]}
    return {"Entrypoint": ["/bin/sh", "-c", _AGAIN, "nexus"], "Cmd": [policy, times or "0", *words]}


def handed(secrets: Mapping[str, str]) -> bytes:
    """Return the variables as the gate reads them: a script of assignments, every value in single quotes. Pure."""
    lines: list[str] = []
    for name, value in secrets.items():
        quoted = value.replace("'", "'\\''")
        lines.append(f"export {name}='{quoted}'")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def check_names(service: ServiceSpec, secrets: Mapping[str, str]) -> None:
    """Refuse variables that no shell can hand out.

    Raises:
        Unsupported: When there is one.
    """
    for name in secrets:
        if not _NAME.fullmatch(name) or name.startswith("__"):
            raise Unsupported(
                f"service {service.name!r} refers to a secret as {name!r}, which no shell can hand to it",
                hint="use a name of letters, digits and '_' that does not begin with '__'",
                details={"service": service.name, "variable": name},
            )


def no_shell(service: ServiceSpec) -> Unsupported:
    """Return why a service of an image without a shell gets no secret variables."""
    return Unsupported(
        f"service {service.name!r} refers to secrets in its environment, and its image has no /bin/sh that "
        "could take them: what a container is made with can be read by everybody who may ask the engine",
        hint="let the service read the secret from a file, or use an image with a shell",
        details={"service": service.name},
    )


def hand_out() -> SpawnRequest:
    """Return the command that takes the variables by its standard input."""
    return SpawnRequest(argv=("/bin/sh", "-c", _GIVE), cwd="/", stdin=True, timeout=DEADLINE, grace=1.0)
