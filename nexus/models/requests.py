"""What callers ask of a workspace service. Frozen, with defaults: a field added later breaks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from nexus.models.base import Model
from nexus.models.ids import Name
from nexus.models.units import Duration
from nexus.models.workspace import WorkspaceStatus


class CreateRequest(Model):
    """A workspace to create. What is left out comes from the configuration."""

    name: Name
    start_point: str = "HEAD"
    """Branch, tag or commit that the new branch starts from."""
    adopt_branch: bool = False
    """Use the branch ``nexus/<name>`` when it is there already; otherwise that is an error."""
    restore: str | None = None
    """Ref under ``refs/nexus/rescue/`` or ``refs/nexus/destroyed/`` that branch and tree are made from, instead of a start point."""
    fork: str | None = None
    """The checkpoint that ``restore`` belongs to, ``<workspace>/<id>``, when it is to be made from that as a whole."""
    settings: Mapping[str, JsonValue] = {}
    """Settings for this workspace alone, by dotted key, as with ``--set``: ``{"defaults.image": "python:3.12"}``."""
    labels: Mapping[str, str] = {}
    display_name: str | None = None
    ttl: Duration | None = None
    """Time after which ``gc`` may destroy it, when nothing would be lost."""
    start: bool = True
    """Whether it runs when the call returns."""


class RestoreRequest(Model):
    """A destroyed workspace to bring back."""

    name: str
    """The name it had."""
    at: str | None = None
    """When it was destroyed, as lists say it, or the beginning of that; the last time when absent."""
    as_name: str | None = None
    """Its new name; the old one when absent."""
    settings: Mapping[str, JsonValue] = {}
    """More settings, by dotted key; they rank above what it had."""
    start: bool = True
    """Whether it runs when the call returns."""


class ListFilter(Model):
    """Which workspaces to list. Everything given must match."""

    labels: Mapping[str, str] = {}
    statuses: frozenset[WorkspaceStatus] = frozenset()
    backend: str | None = None
    destroyed: bool = False
    """List those as well that were destroyed and can still be restored; they come last."""


class DestroyOutcome(Model):
    """What a destroy did."""

    name: str
    rescued: str | None = None
    """The ref that holds what was unsaved, when ``force`` overrode the refusal."""
    branch_deleted: bool = False
    kept_volumes: tuple[str, ...] = ()
    """Named volumes that stay, as their backend calls them; ``prune`` removes them."""
    restore: str | None = None
    """The command that brings it back."""


class SwitchOutcome(Model):
    """What a switch did."""

    previous: str | None
    current: str
    previous_status: WorkspaceStatus | None
    seconds: float
    """From call to the moment that both workspaces were in their new status."""
    warnings: tuple[str, ...] = ()


class GcAction(Model):
    """One thing that ``gc`` removed, or would remove on a dry run, or kept and why."""

    kind: Literal["expired", "orphan", "journal", "lease", "claim", "trash", "checkpoint"]
    name: str
    action: Literal["removed", "would-remove", "kept", "finished", "undone"]
    reason: str


class SyncOutcome(Model):
    """What a sync did to a workspace's branch."""

    branch: str
    remote: str | None
    before: str
    after: str
    fast_forwarded: bool
    fetched: int = 0
    """Refs that the fetch moved."""
    message: str = ""
