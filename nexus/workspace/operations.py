"""The operations on workspaces, and what gives access to one, as modules that are loaded when they are first asked for.

A program that lists workspaces, or runs one command, has no use for what creates, checkpoints and destroys them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.workspace import (
        activity,
        attending,
        checkpoint_access,
        checkpointing,
        creation,
        creation_begin,
        creation_undo,
        destruction,
        doctor,
        environment,
        explaining,
        featuring,
        file_access,
        forking,
        git_access,
        hibernating,
        holding,
        hooks,
        listening,
        measuring,
        observing,
        port_access,
        prebuilding,
        pruning,
        recovery,
        restoring,
        reviewing,
        rewinding,
        running,
        services_life,
        settling,
        sweeping,
        switching,
        syncing,
        terminals,
        watching,
    )

__all__ = [
    "activity",
    "attending",
    "checkpoint_access",
    "checkpointing",
    "creation",
    "creation_begin",
    "creation_undo",
    "destruction",
    "doctor",
    "environment",
    "explaining",
    "featuring",
    "file_access",
    "forking",
    "git_access",
    "hibernating",
    "holding",
    "hooks",
    "listening",
    "measuring",
    "observing",
    "port_access",
    "prebuilding",
    "pruning",
    "recovery",
    "restoring",
    "reviewing",
    "rewinding",
    "running",
    "services_life",
    "settling",
    "sweeping",
    "switching",
    "syncing",
    "terminals",
    "watching",
]

__getattr__, __dir__ = on_first_use(__name__, {"nexus.workspace": __all__})
