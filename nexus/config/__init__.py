"""Configuration in five layers, each value with the place it came from.

::

    stack = ConfigStack.load("~/code/app", flags={"backend": "docker"})
    stack.settings.image
    print(stack.explain("defaults.idle_timeout"))

The files are described in ``docs/reference/configuration.md``, which :func:`configuration_reference` writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.config.adopting import Adopted, Unsupported
    from nexus.config.assignments import parse_assignment
    from nexus.config.daemon import DaemonSettings
    from nexus.config.explain import Explanation, LayerValue
    from nexus.config.image_build import ImageBuild
    from nexus.config.layers import LayerKind
    from nexus.config.network import ORG_KEY
    from nexus.config.preferences import Preferences, Telemetry
    from nexus.config.problems import Problem
    from nexus.config.reference import configuration_reference
    from nexus.config.schema import Level, json_schema, schema_file
    from nexus.config.secret_settings import allow_hint, may_read_host, runs_host_code
    from nexus.config.settings import (
        KnownWorkspace,
        Limits,
        ResourceMaxima,
        Settings,
        WorkspaceIdentity,
    )
    from nexus.config.ssh import SshAccess
    from nexus.config.stack import ConfigStack
    from nexus.config.template import WrittenTemplate, project_template, write_project_schema, write_project_template

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.config.adopting": ["Adopted", "Unsupported"],
        "nexus.config.assignments": ["parse_assignment"],
        "nexus.config.daemon": ["DaemonSettings"],
        "nexus.config.explain": ["Explanation", "LayerValue"],
        "nexus.config.image_build": ["ImageBuild"],
        "nexus.config.layers": ["LayerKind"],
        "nexus.config.network": ["ORG_KEY"],
        "nexus.config.preferences": ["Preferences", "Telemetry"],
        "nexus.config.problems": ["Problem"],
        "nexus.config.reference": ["configuration_reference"],
        "nexus.config.schema": ["Level", "json_schema", "schema_file"],
        "nexus.config.secret_settings": ["allow_hint", "may_read_host", "runs_host_code"],
        "nexus.config.settings": ["KnownWorkspace", "Limits", "ResourceMaxima", "Settings", "WorkspaceIdentity"],
        "nexus.config.ssh": ["SshAccess"],
        "nexus.config.stack": ["ConfigStack"],
        "nexus.config.template": [
            "WrittenTemplate",
            "project_template",
            "write_project_schema",
            "write_project_template",
        ],
    },
)

__all__ = [
    "ORG_KEY",
    "Adopted",
    "ConfigStack",
    "DaemonSettings",
    "Explanation",
    "ImageBuild",
    "KnownWorkspace",
    "LayerKind",
    "LayerValue",
    "Level",
    "Limits",
    "Preferences",
    "Problem",
    "ResourceMaxima",
    "Settings",
    "SshAccess",
    "Telemetry",
    "Unsupported",
    "WorkspaceIdentity",
    "WrittenTemplate",
    "allow_hint",
    "configuration_reference",
    "json_schema",
    "may_read_host",
    "parse_assignment",
    "project_template",
    "runs_host_code",
    "schema_file",
    "write_project_schema",
    "write_project_template",
]
