"""The table of methods as an OpenRPC document, which clients in other languages are generated from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from nexus.models.base import Model
from nexus.wire.failures import NUMBERS
from nexus.wire.methods import METHODS, NOTICES
from nexus.wire.methods.session import Document
from nexus.wire.methods.table import AnyMethod

OPENRPC: Final = "1.3.2"
_REF: Final = "#/components/schemas/{model}"


def document(methods: Iterable[AnyMethod] | None = None, *, version: str) -> Document:
    """Return the document.

    Args:
        methods: Which methods; all of the table when absent.
        version: Ours.
    """
    known = sorted(METHODS.values() if methods is None else methods, key=lambda method: method.name)
    incoming: list[type[Model]] = [method.params for method in known]
    outgoing: list[type[Model]] = [method.result for method in known]
    outgoing += [notice.params for notice in NOTICES.values()]
    given: list[tuple[type[Model], JsonSchemaMode]] = [(model, "validation") for model in dict.fromkeys(incoming)]
    told: list[tuple[type[Model], JsonSchemaMode]] = [(model, "serialization") for model in dict.fromkeys(outgoing)]
    schemas, definitions = models_json_schema([*given, *told], by_alias=True, ref_template=_REF)
    shapes: dict[str, JsonValue] = definitions.get("$defs", {})
    return Document(
        openrpc=OPENRPC,
        info={"title": "Nexus", "version": version, "description": "Development workspaces over a WebSocket."},
        methods=(
            *(
                {
                    "name": method.name,
                    "summary": method.summary,
                    "paramStructure": "by-name",
                    "params": _params(schemas[method.params, "validation"], shapes),
                    "result": {"name": "result", "schema": schemas[method.result, "serialization"]},
                    "x-scope": method.scope,
                    "x-effect": str(method.effect),
                    "x-progress": method.progress,
                }
                for method in known
            ),
            *(
                {
                    "name": name,
                    "summary": notice.summary,
                    "paramStructure": "by-name",
                    "params": _params(schemas[notice.params, "serialization"], shapes),
                    "x-notification": "from-daemon",
                }
                for name, notice in sorted(NOTICES.items())
            ),
        ),
        components={"schemas": shapes, "errors": _errors()},
    )


def _params(schema: JsonValue, shapes: Mapping[str, JsonValue]) -> list[JsonValue]:
    """Return one descriptor for each field of a model: parameters go by name."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    shape = shapes.get(str(reference).rpartition("/")[2], schema)
    if not isinstance(shape, dict):
        return []
    fields, required = shape.get("properties", {}), shape.get("required", [])
    if not isinstance(fields, dict) or not isinstance(required, list):
        return []
    return [{"name": name, "required": name in required, "schema": field} for name, field in fields.items()]


def _errors() -> dict[str, JsonValue]:
    return {code: {"code": number, "message": code, "data": {"code": code}} for code, number in sorted(NUMBERS.items())}
