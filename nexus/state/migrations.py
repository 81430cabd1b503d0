"""Records of older schemas, brought up to the present one step at a time.

Each step turns a document of one schema version into one of the next, as plain JSON objects: the models of old versions are
not kept. A step is a pure function; it never sees a document of another version than its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from pydantic import JsonValue

from nexus.models.workspace import RECORD_SCHEMA

Document: TypeAlias = dict[str, JsonValue]
Step: TypeAlias = Callable[[Document], Document]

MIGRATIONS: Final[Mapping[int, Step]] = MappingProxyType({})
"""From the version of the old document to the step that leads to the next. Empty as long as there is one version."""


class UnknownSchema(Exception):
    """No chain of steps leads from the document's version to the wanted one; the text says which versions."""


def migrate(document: Document, *, steps: Mapping[int, Step] = MIGRATIONS, target: int = RECORD_SCHEMA) -> Document:
    """Return the document in schema ``target``.

    Args:
        document: A JSON object with an integer ``schema_version``.
        steps: The steps by the version that they start from.
        target: The version that is wanted.

    Raises:
        UnknownSchema: When the version is missing, newer than ``target``, or a step is missing or fails.
    """
    version = document.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise UnknownSchema(f"its schema_version is {version!r}, not a number")
    if version > target:
        raise UnknownSchema(
            f"its schema_version is {version}, newer than {target}, the newest this version of Nexus knows"
        )
    for number in range(version, target):
        step = steps.get(number)
        if step is None:
            raise UnknownSchema(f"its schema_version is {version}, and nothing leads from {number} to {target}")
        try:
            document = {**step(dict(document)), "schema_version": number + 1}
        except Exception as error:
            # Whatever a damaged old record does to a step, it must not end a listing.
            raise UnknownSchema(
                f"its schema_version is {version}, and the step from {number} failed: {type(error).__name__}: {error}"
            ) from error
    return document
