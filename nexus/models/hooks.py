"""Scripts and hooks: commands of the configuration that run at moments of a workspace's life."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from nexus.models.base import Model
from nexus.models.units import Duration


class HookName(StrEnum):
    """The moments, by the keys that configure them: ``scripts.pre-start``, ``hooks.on_wake`` and so on."""

    INITIALIZE = "initialize"
    """Nothing runs yet. The only one that runs on this host. A failure fails the start."""
    PRE_START = "pre-start"
    """The place runs, nothing else does yet. A failure fails the start."""
    POST_CREATE = "post-create"
    """Services are up, for the first time. Once, until it has succeeded."""
    ON_WAKE = "on_wake"
    """The workspace was started or resumed."""
    POST_START = "post-start"
    """Everything is up."""
    ON_SLEEP = "on_sleep"
    """The workspace is about to be paused or stopped."""
    PRE_STOP = "pre-stop"
    """The workspace is about to be stopped."""


class Hook(Model):
    """One of them, as configured."""

    name: HookName
    run: str
    """The script: its first line may name an interpreter, ``/bin/sh -e`` runs it otherwise."""
    timeout: Duration | None = None
    """Time after which it is ended with everything it started; ``None``: no limit."""


_OURS: Final = "nexus: "
_NOT_BEGUN: Final = frozenset({126, 127})


class HookResult(Model):
    """A run that has ended, or that could not begin."""

    hook: HookName
    exit_code: int | None = None
    """Its status; ``None`` when its end was not seen or it was not begun."""
    timed_out: bool = False
    seconds: float = 0.0
    log: Path | None = None
    """File on this host that holds its output."""
    tail: tuple[str, ...] = ()
    """The last lines that it printed."""
    problem: str | None = None
    """Why it was not begun, or how its end was missed."""
    hint: str | None = None
    """What to do about that, where it is known."""

    @property
    def ok(self) -> bool:
        """Whether it did its work."""
        return self.exit_code == 0 and not self.timed_out and self.problem is None

    @property
    def sentence(self) -> str:
        """What became of it, in words."""
        where = f"; its log is {self.log}" if self.log is not None else ""
        if self.problem is not None:
            return (
                f"{self.hook} was not run: {self.problem}"
                if self.log is None
                else f"{self.hook}: {self.problem}{where}"
            )
        if self.timed_out:
            return f"{self.hook} was ended at its time limit after {self.seconds:.1f} s{where}"
        if self.exit_code is None:
            return f"the end of {self.hook} was not seen{where}"
        said = self._said
        return f"{self.hook} succeeded" if self.ok else f"{self.hook} failed with status {self.exit_code}{said}{where}"

    @property
    def _said(self) -> str:
        """What those who were to run it said last, when it was not begun for want of an interpreter, say."""
        last = self.tail[-1] if self.tail else ""
        return f": {last.removeprefix(_OURS)}" if self.exit_code in _NOT_BEGUN and last.startswith(_OURS) else ""
