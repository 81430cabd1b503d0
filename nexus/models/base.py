"""The base of every stored or sent value."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen value: compared by content, refused when it holds an unknown key, never a live object."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
