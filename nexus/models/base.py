"""The base of every stored or sent value."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A frozen value: compared by content, refused when it holds an unknown key, never a live object.

    In files and in Python its fields have their own names; on the wire, which asks for it with ``by_alias=True``, they are in camel
    case.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # Validators are built on first use: a command that needs three models of sixty pays for three.
        defer_build=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=False,
    )
