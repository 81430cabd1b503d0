"""Identifiers, the rule for workspace names, and the slug that makes one from any text.

One rule serves every place a name ends up in: git branch, container and network name, DNS label, file name. Lower-case
letters, digits and single ``-``; a letter first, a letter or digit last; at most 48 characters, so that ``nexus-<name>-<8>``
and ``<service>-<name>`` stay below the 63 that DNS (RFC 1035 §2.3.4) and container runtimes allow.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Annotated, Final, NewType

from pydantic import AfterValidator

from nexus.errors import InvalidName

WorkspaceId = NewType("WorkspaceId", str)
"""A workspace's identity for ever: a random UUID (version 4). Names can be used again, ids never."""

ExecId = NewType("ExecId", str)
"""One started command, unique within its workspace."""

TerminalId = NewType("TerminalId", str)
"""One terminal of a workspace, the same after a restart."""

NodeId = NewType("NodeId", str)
"""This machine and user, as the node registry knows them; it labels what we make outside."""

CheckpointId = NewType("CheckpointId", str)
"""One checkpoint of a workspace: twelve random hexadecimal digits."""

WorkspaceName = NewType("WorkspaceName", str)
"""A validated workspace name."""

MAX_NAME_LENGTH: Final = 48
RESERVED_NAMES: Final = frozenset(
    {"all", "current", "default", "head", "host", "localhost", "main", "nexus", "none", "null", "self", "shared"}
)
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9]|-(?=[a-z0-9])){0,47}", re.ASCII)
_DIGEST_LENGTH: Final = 8


def parse_name(text: str) -> WorkspaceName:
    """Return ``text`` as a workspace name.

    Raises:
        InvalidName: When it breaks the rule or is reserved. The hint holds the slug that would be accepted.
    """
    if text in RESERVED_NAMES:
        raise InvalidName(
            f"workspace name {text!r} is reserved",
            hint=f"choose another, for example {slugify(text)!r}",
            details={"name": text},
        )
    if not _NAME.fullmatch(text):
        raise InvalidName(
            f"workspace name {text!r} is not valid: use lower-case letters, digits and single '-', "
            f"a letter first, at most {MAX_NAME_LENGTH} characters",
            hint=f"for example {slugify(text)!r}",
            details={"name": text},
        )
    return WorkspaceName(text)


def slugify(text: str) -> WorkspaceName:
    """Return a valid name for any text, the text itself where it is one already.

    A text that has to be changed gets eight hexadecimal digits of its SHA-256 appended, so that two different texts
    (``feature/auth`` and ``feature-auth``) never share a name.
    """
    if _NAME.fullmatch(text) and text not in RESERVED_NAMES:
        return WorkspaceName(text)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not words or not words[0].isalpha():
        words = f"ws-{words}".rstrip("-")
    return WorkspaceName(f"{words[: MAX_NAME_LENGTH - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}")


def new_workspace_id() -> WorkspaceId:
    """Return a fresh random id."""
    return WorkspaceId(str(uuid.uuid4()))


def new_exec_id() -> ExecId:
    """Return a fresh random id with the prefix ``ex_``."""
    return ExecId(f"ex_{uuid.uuid4().hex[:16]}")


def new_checkpoint_id() -> CheckpointId:
    """Return a fresh random id."""
    return CheckpointId(uuid.uuid4().hex[:12])


def new_terminal_id() -> TerminalId:
    """Return a fresh random id with the prefix ``tm_``."""
    return TerminalId(f"tm_{uuid.uuid4().hex[:16]}")


Name = Annotated[WorkspaceName, AfterValidator(parse_name)]
"""A workspace name as a pydantic field."""
