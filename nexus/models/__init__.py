"""Frozen values and identifiers. No I/O here, and nothing that lives longer than a call.

A module that only says in its signatures what passes through it writes ``models.requests.SyncOutcome``: the values are loaded when
somebody has one, and a program that asks for one thing does not make the models of all others first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.models import (
        activity,
        built_images,
        checkpoints,
        discovery,
        display,
        editors,
        events,
        execution,
        explained,
        features,
        files,
        findings,
        git,
        hooks,
        ids,
        instances,
        mounts,
        ports,
        prebuilds,
        process_state,
        repository,
        requests,
        rescues,
        resources,
        secrets,
        services,
        terminals,
        trust,
        units,
        workspace,
    )

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.models": [
            "activity",
            "built_images",
            "checkpoints",
            "discovery",
            "display",
            "editors",
            "events",
            "execution",
            "explained",
            "features",
            "files",
            "findings",
            "git",
            "hooks",
            "ids",
            "instances",
            "mounts",
            "ports",
            "prebuilds",
            "process_state",
            "repository",
            "requests",
            "rescues",
            "resources",
            "secrets",
            "services",
            "terminals",
            "trust",
            "units",
            "workspace",
        ]
    },
)

__all__ = [
    "activity",
    "built_images",
    "checkpoints",
    "discovery",
    "display",
    "editors",
    "events",
    "execution",
    "explained",
    "features",
    "files",
    "findings",
    "git",
    "hooks",
    "ids",
    "instances",
    "mounts",
    "ports",
    "prebuilds",
    "process_state",
    "repository",
    "requests",
    "rescues",
    "resources",
    "secrets",
    "services",
    "terminals",
    "trust",
    "units",
    "workspace",
]
