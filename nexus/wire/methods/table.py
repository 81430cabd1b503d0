"""What a method is: its name, what goes in and comes out, who may call it, and what becomes of it when the connection is lost."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import ConfigDict, Field

from nexus.models.base import Model

P = TypeVar("P", bound=Model)
R = TypeVar("R", bound=Model)

Milliseconds: TypeAlias = Annotated[int, Field(ge=0, le=10**12)]
Key: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
WorkspaceRef: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]


class Effect(StrEnum):
    """What a call does, and so what may be done when nobody knows whether it arrived."""

    READ = "read"
    """Changes nothing: it is cancelled when its connection is lost, and may be asked again."""
    KEYED = "keyed"
    """Changes something. It goes on when its connection is lost; asked again with the same ``idempotencyKey`` it is joined, or its
    outcome is given again."""
    LIVE = "live"
    """Belongs to its connection."""


class Params(Model):
    """Parameters. Unknown fields are ignored, so that a newer client can talk to an older daemon."""

    model_config = ConfigDict(extra="ignore")


class KeyedParams(Params):
    """Parameters of a call that changes something."""

    idempotency_key: Key | None = None
    """Chosen by the caller, different for each thing that is to be done once."""


class OfWorkspace(Params):
    """Parameters of a call about one workspace."""

    workspace: WorkspaceRef
    """Its name or id."""


class KeyedOfWorkspace(KeyedParams, OfWorkspace):
    """Parameters of a call that changes one workspace."""


class Nothing(Params):
    """No parameters, or no result."""


class Method(NamedTuple, Generic[P, R]):
    """One line of the table."""

    name: str
    params: type[P]
    result: type[R]
    effect: Effect
    scope: str | None
    """What the token has to allow; ``None``: any valid token."""
    summary: str
    whole: bool = False
    """Whether the token has to be for all workspaces: the call is about the repository as a whole."""
    progress: bool = False
    """Whether it tells how it moves on."""


class Notice(NamedTuple, Generic[P]):
    """A notification that the daemon sends."""

    name: str
    params: type[P]
    summary: str


AnyMethod: TypeAlias = Method[Model, Model]
Table: TypeAlias = Mapping[str, AnyMethod]
Page: TypeAlias = Literal["text", "base64", "auto"]
