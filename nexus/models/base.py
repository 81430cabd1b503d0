"""The base of every stored or sent value."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen value: compared by content, refused when it holds an unknown key, never a live object."""

    # Validators are built on first use: a command that needs three models of sixty pays for three.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Described(Model):
    """A value whose schema is shown to people: the text under each field becomes its description there.

    Not the rule for all, because reading those texts means parsing the module again while it is imported.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)
