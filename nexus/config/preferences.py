"""The ``preferences`` section of a user's file: how things look, what they are opened with, what may be recorded."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator

from nexus.config.layers import Branch, KeyPath, Leaf, child, join_key
from nexus.config.values import Text
from nexus.models.base import Model
from nexus.models.described import Described
from nexus.models.editors import check_editor

Theme: TypeAlias = Literal["auto", "dark", "light", "none"]
EditorName = Annotated[Text, AfterValidator(check_editor)]


class TelemetryChoice(Described):
    """What may be recorded about how Nexus is used. This version records and sends nothing, whatever stands here."""

    enabled: bool | None = None
    """Whether anything may be recorded on this machine."""
    share_friction_data: bool | None = None
    """Whether reports of friction may leave this machine."""


class UserPreferences(Described):
    """Personal preferences."""

    default_editor: EditorName | None = None
    """What `boulder ws open` opens work trees with: `cursor`, `vscode`, `vim` and others, or the absolute path of a program."""
    theme: Theme | None = None
    """Colours of `boulder`'s output: for a dark or a light background, those of the terminal (auto), or none."""
    telemetry: TelemetryChoice | None = None
    """What may be recorded about how Nexus is used."""


class Telemetry(Model):
    """What may be recorded. This version records and sends nothing; the choice is kept for those that will."""

    enabled: bool = True
    """Whether anything may be recorded on this machine."""
    share_friction_data: bool = False
    """Whether reports of friction may leave this machine."""


class Preferences(Model):
    """Personal preferences."""

    default_editor: str | None = None
    """An editor's name or the absolute path of a program; see :func:`nexus.models.editors.editor_command`."""
    theme: Theme = "auto"
    """Colours of the output."""
    telemetry: Telemetry = Telemetry()


_CHOICES: Final[tuple[KeyPath, ...]] = (
    ("preferences", "telemetry", "enabled"),
    ("preferences", "telemetry", "share_friction_data"),
)


def telemetry_notes(file: Branch) -> list[str]:
    """Return a line for each consent that nothing makes use of yet. A refusal needs none: it holds already.

    Args:
        file: A file in its own spelling, or a layer.
    """
    lines: list[str] = []
    for path in _CHOICES:
        leaf = child(file, *path)
        if isinstance(leaf, Leaf) and leaf.value is True:
            lines.append(f"{leaf.place}: '{join_key(path)}' is remembered; this version records and sends nothing")
    return lines
