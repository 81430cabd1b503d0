"""What the fields of shapes mean, in the words that stand below them in their source."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema
from typing_extensions import override


class DescribedSchema(GenerateJsonSchema):
    """Makes schemas whose fields say what they mean."""

    @override
    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model."""
        shape = super().model_schema(schema)
        fields = shape.get("properties", {})
        aliases = {name: field.serialization_alias or name for name, field in schema["cls"].model_fields.items()}
        for name, text in field_docs(schema["cls"]).items():
            field = fields.get(aliases.get(name))
            if isinstance(field, dict):
                field.setdefault("description", text)
        return shape


def field_docs(model: type) -> dict[str, str]:
    """Return the docstring of each field that has one, its own and those of its bases; none where there is no source.

    Args:
        model: A class whose fields are annotated, each perhaps with a string below it.
    """
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        found |= _documented(each.__module__).get(each.__qualname__, {})
    return found


@cache
def _documented(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of the fields of each class of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError):  # it is built in, or its source is not installed
        return {}
    return {node.name: dict(_fields(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(node.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text).replace("``", "`").replace("\n", " ")
            case _:
                pass
