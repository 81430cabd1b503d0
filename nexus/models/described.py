"""Values whose schema is shown to people: the text under each field is its description there."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from nexus.models.base import Model


class Described(Model):
    """A value whose fields are described by the text under each.

    The texts are read when somebody asks for them. Pydantic's own way (``use_attribute_docstrings``) parses the module while it is
    imported, which every start of a program would pay for.
    """

    # Its names are what people write into files: a field has another one only where it says so itself.
    model_config = ConfigDict(alias_generator=None, validate_by_alias=True, validate_by_name=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema with the texts."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in field_texts(cls).items():
            described = properties.get(cls.model_fields[name].alias or name)
            if described is not None:
                described.setdefault("description", text)
        return schema


def field_texts(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the text under each field of a model, inherited ones too, by the field's name.

    Empty where the source is not at hand.
    """
    texts: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            texts |= _module_texts(kind.__module__).get(kind.__qualname__, {})
    return {name: text for name, text in texts.items() if name in model.model_fields}


@functools.cache
def _module_texts(module: str) -> Mapping[str, Mapping[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, KeyError):
        return {}
    return {node.name: _class_texts(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _class_texts(node: ast.ClassDef) -> dict[str, str]:
    texts: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            texts[field.target.id] = inspect.cleandoc(below.value.value)
    return texts
