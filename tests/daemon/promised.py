"""Whether what a daemon sends is what its OpenRPC document promises."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from nexus.wire.openrpc import document


@cache
def _methods() -> dict[str, Any]:
    return {method["name"]: method for method in _document()["methods"]}


@cache
def _document() -> dict[str, Any]:
    return document(version="").model_dump(mode="json", by_alias=True)


@cache
def _validator(name: str) -> Any:
    method = _methods()[name]
    if "result" in method:
        schema = method["result"]["schema"]
    else:
        fields = {param["name"]: param["schema"] for param in method["params"]}
        needed = [param["name"] for param in method["params"] if param["required"]]
        schema = {"type": "object", "properties": fields, "required": needed}
    return jsonschema.Draft7Validator({"components": _document()["components"], "allOf": [schema]})


def check(name: str, value: object) -> None:
    """Raise an error that says where a result, or what a notification tells, is not as it was promised."""
    _validator(name).validate(value)
