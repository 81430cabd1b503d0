"""Scripts and hooks, as people write them and as they are meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from nexus.config.catalogue import TEXT_OR_MAP
from nexus.config.layers import Branch, value_at
from nexus.config.values import PositiveDuration, short_form
from nexus.models.described import Described
from nexus.models.hooks import Hook, HookName
from nexus.models.units import parse_duration

SECTIONS: Final[Mapping[HookName, str]] = {
    HookName.INITIALIZE: "scripts",
    HookName.PRE_START: "scripts",
    HookName.POST_CREATE: "scripts",
    HookName.POST_START: "scripts",
    HookName.PRE_STOP: "scripts",
    HookName.ON_WAKE: "hooks",
    HookName.ON_SLEEP: "hooks",
}
"""Where each is configured."""

_UNUSABLE: Final = re.compile("[\x00\ud800-\udfff]")


def _usable(text: str) -> str:
    if _UNUSABLE.search(text):
        msg = "must be text that a program can be given: it holds a NUL character, or half a surrogate pair"
        raise ValueError(msg)
    if not text.strip():
        msg = "must not be empty; write null to have none"
        raise ValueError(msg)
    if text.startswith("#!") and not text[2:].split("\n", 1)[0].strip().startswith("/"):
        msg = "must name its interpreter by an absolute path: '#!/bin/bash', '#!/usr/bin/env python3'"
        raise ValueError(msg)
    return text


ScriptText = Annotated[str, Field(max_length=1_048_576), AfterValidator(_usable)]


class Script(Described):
    """A script; in place of the map its text."""

    run: ScriptText | None = None
    """Its text. A first line such as `#!/bin/bash` names what runs it; without one `/bin/sh -e` does."""
    timeout: PositiveDuration | None = None
    """Time after which it is ended with everything it started; the section's `timeout` when absent."""


AnyScript = Annotated[
    Script, BeforeValidator(short_form("run", "timeout"), json_schema_input_type=Script | str), TEXT_OR_MAP
]


class Scripts(Described):
    """Scripts around the start of a workspace. All but `initialize` run inside it, in its tree."""

    initialize: AnyScript | None = None
    """Runs on this host, in the main checkout, before every start, and after your approval on every backend. When it fails the
    start fails."""
    pre_start: AnyScript | None = Field(default=None, alias="pre-start")
    """Runs before services, at every start. When it fails the start fails."""
    post_create: AnyScript | None = Field(default=None, alias="post-create")
    """Runs when services are up for the first time; again at the next start when it failed."""
    post_start: AnyScript | None = Field(default=None, alias="post-start")
    """Runs when everything is up. What it leaves running belongs to the workspace."""
    pre_stop: AnyScript | None = Field(default=None, alias="pre-stop")
    """Runs before the workspace is stopped. A failure is a warning and stops nothing."""
    timeout: PositiveDuration | None = None
    """Time limit of each; `null`: none."""


class Hooks(Described):
    """Commands at moments of a workspace's life. They run inside it, in its tree."""

    on_wake: AnyScript | None = None
    """Runs when the workspace was started or resumed."""
    on_sleep: AnyScript | None = None
    """Runs before it is paused or stopped. A failure is a warning and stops nothing."""
    timeout: PositiveDuration | None = None
    """Time limit of each; `null`: none."""


def configured(merged: Branch) -> tuple[Hook, ...]:
    """Return the scripts and hooks that the merged layers come to."""
    found: list[Hook] = []
    for name, section in SECTIONS.items():
        run = value_at(merged, section, name, "run")
        if isinstance(run, str):
            limit = value_at(merged, section, name, "timeout") or value_at(merged, section, "timeout")
            found.append(Hook(name=name, run=run, timeout=None if limit is None else parse_duration(limit)))
    return tuple(found)
