"""What an engine's answers mean. Pure: text and numbers in, one of our errors out."""

from __future__ import annotations

import re
from typing import Final

from nexus.errors import (
    ExecStartError,
    ImageNotFound,
    ImagePullFailed,
    NexusError,
    PortInUse,
    ProviderError,
    ProviderForbidden,
    ProviderUnavailable,
    WorkspaceStopped,
)
from nexus.providers.docker.endpoint import Endpoint

_PORT: Final = re.compile(
    r"(?:Bind for|listen (?:tcp|udp)\d?|bind host port for)\s+(?P<address>\S+?):(?P<port>\d{1,5})\b.*?"
    r"(?:port is already allocated|address already in use)",
    re.DOTALL,
)
_TAKEN: Final = ("port is already allocated", "address already in use")
_ABSENT: Final = (
    "manifest unknown",
    "not found",
    "does not exist",
    "no such image",
    "name unknown",
    "repository does not",
)
_OVERLAP: Final = (
    "pool overlaps",
    "overlaps with",
    "invalid pool request",
    "already used by",
    "subnet is already in use",
)


class EngineRefused(ProviderError):
    """The engine answered a request with an error that its caller may know how to read.

    Args:
        doing: What was asked, as in "start the container".
        status: The HTTP status.
        text: The engine's own words.
    """

    def __init__(self, doing: str, *, status: int, text: str) -> None:
        self.status: int = status
        self.text: str = text.strip()
        super().__init__(f"the container engine could not {doing}: {self.text}", details={"status": status})


def unreachable(endpoint: Endpoint, error: BaseException) -> NexusError:
    """Return what it means that no connection could be made or that it broke."""
    cause = _os_error(error)
    where = endpoint.shown
    if isinstance(cause, PermissionError):
        return ProviderForbidden(
            f"this user may not use the container engine's socket {where}",
            hint="add yourself to the group that owns it (sudo usermod -aG docker $USER, then log in again) or run rootless Docker",
            details={"endpoint": where},
        )
    if isinstance(cause, FileNotFoundError):
        reason = "there is no container engine's socket"
        return ProviderUnavailable(f"{reason} at {where}", hint=_START_HINT, details={"endpoint": where})
    if isinstance(cause, ConnectionRefusedError):
        return ProviderUnavailable(
            f"no container engine listens at {where}", hint=_START_HINT, details={"endpoint": where}
        )
    return ProviderUnavailable(
        f"the connection to the container engine at {where} failed: {cause or error}",
        hint=_START_HINT,
        details={"endpoint": where},
    )


_START_HINT: Final = (
    "start Docker (sudo systemctl start docker), or name another engine with DOCKER_HOST or backends.docker.socket; "
    "backend 'local' needs no engine"
)


def silent(endpoint: Endpoint, doing: str, seconds: float) -> ProviderUnavailable:
    """Return the error for an engine that did not answer in time."""
    return ProviderUnavailable(
        f"the container engine at {endpoint.shown} did not {doing} within {seconds:g} s",
        hint="see whether `docker version` answers; restart the engine when it does not",
        details={"endpoint": endpoint.shown, "seconds": seconds},
    )


def _os_error(error: BaseException | None) -> OSError | None:
    """Return the system's error below an HTTP client's, which wraps it more than once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "os_error", None)
        if isinstance(inner, OSError):
            return inner
        if type(error) in {
            PermissionError,
            FileNotFoundError,
            ConnectionRefusedError,
            ConnectionResetError,
            BrokenPipeError,
        }:
            return error if isinstance(error, OSError) else None
        error = error.__cause__ or error.__context__
    return None


def taken_port(refusal: EngineRefused) -> PortInUse | None:
    """Return the error for a published port that somebody holds, when that is what the engine says."""
    if not any(phrase in refusal.text for phrase in _TAKEN):
        return None
    match = _PORT.search(refusal.text)
    if match is None:
        return PortInUse(f"a published port is taken: {refusal.text}", hint=_PORT_HINT)
    port = int(match["port"])
    return PortInUse(
        f"port {port} of {match['address']} is taken by another program or container",
        hint=_PORT_HINT,
        details={"port": port, "holder": "another container" if "allocated" in refusal.text else None},
    )


_PORT_HINT: Final = "see who listens with `ss -ltnp` or `docker ps`; stop it, or choose another host port"


def is_overlap(refusal: EngineRefused) -> bool:
    """Return whether a network was refused because its addresses are in use."""
    return any(phrase in refusal.text.lower() for phrase in _OVERLAP)


def network_missing(refusal: EngineRefused) -> bool:
    """Return whether a container could not start because its network was removed."""
    return "network" in refusal.text and "not found" in refusal.text


def not_running(refusal: EngineRefused, name: str) -> WorkspaceStopped | None:
    """Return the error for an act that needs a running container, when the engine says that it does not run."""
    text = refusal.text
    if refusal.status not in {409, 500} or not (
        "is not running" in text or "is paused" in text or "is restarting" in text
    ):
        return None
    state = "paused" if "is paused" in text else "not running"
    return WorkspaceStopped(
        f"workspace {name!r} is {state}", hint="resume it first" if state == "paused" else "start it first"
    )


def pull_failure(image: str, text: str) -> NexusError:
    """Return what a failed pull means: the image does not exist, or it could not be fetched."""
    hint = f"docker pull {image}, docker build -t {image} …, or set defaults.image to an image you have"
    lowered = text.lower()
    if "pull access denied" in lowered or "unauthorized" in lowered or "authentication required" in lowered:
        return ImageNotFound(
            f"image {image} is not on this engine, and its registry does not give it to this user: {text}",
            hint=f"docker login, then docker pull {image}; or set defaults.image to an image you have",
            details={"image": image},
        )
    if any(phrase in lowered for phrase in _ABSENT):
        return ImageNotFound(
            f"image {image} is neither on this engine nor in its registry: {text}", hint=hint, details={"image": image}
        )
    return ImagePullFailed(f"image {image} could not be pulled: {text}", hint=hint, details={"image": image})


def start_failure(argv: tuple[str, ...], text: str, exit_code: int | None, cwd: str | None) -> ExecStartError:
    """Return why the engine could not start a command, read from the words of its runtime."""
    words = " ".join(text.split())
    program = argv[0]
    if "chdir to cwd" in words or "Cwd must be an absolute path" in words:
        return ExecStartError(
            f"folder {cwd or 'of the workspace'} does not exist inside the workspace, or cannot be entered",
            exit_code=126,
            hint="see whether the worktree is still there and mounted",
        )
    if "unable to find user" in words or "no matching entries in passwd" in words or "unable to find group" in words:
        return ExecStartError(f"the user asked for does not exist inside the workspace: {words}", exit_code=126)
    if "argument list too long" in words:
        return ExecStartError(
            f"the command line of {program} is too long for the system",
            exit_code=126,
            hint="pass long input on standard input or in a file",
        )
    if "no such file or directory" in words or "executable file not found" in words:
        return ExecStartError(f"program {program} does not exist inside the workspace", exit_code=127)
    if "permission denied" in words or "is a directory" in words:
        return ExecStartError(f"{program} cannot be executed inside the workspace", exit_code=126)
    return ExecStartError(
        f"{program} could not be started: {words or 'the engine gave no reason'}", exit_code=exit_code or 126
    )
