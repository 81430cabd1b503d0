"""The base of every stored or sent value."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen value: compared by content, refused when it holds an unknown key, never a live object."""

    # Validators are built on first use: a command that needs three models of sixty pays for three.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
