"""Which keys there are: read off the section models, for suggestions, environment names and the reference page."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Final, Literal, Union

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from nexus.config.layers import KeyPath
from nexus.models.described import field_texts
from nexus.models.units import parse_size

ANY_NAME: Final = "<name>"
TEXT_OR_MAP: Final = "text or map"
"""Metadata of a map that may be written as a text, and is one wherever only text can be written."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what kind of value it takes, and which keys are below it."""

    kind: str
    """In words: ``text``, ``duration``, ``size``, ``whole number``, ``map``, ``anything``, …"""
    doc: str = ""
    children: Mapping[str, Key] = field(default_factory=dict)
    any_name: Key | None = None
    """What stands below a name of the user's choice, where one may."""

    def below(self, name: str) -> Key | None:
        """Return the key of this name below, or ``None`` when there cannot be one."""
        return self if self.kind == "anything" else self.children.get(name, self.any_name)

    def find(self, path: KeyPath) -> Key | None:
        """Return the key at ``path``."""
        key: Key | None = self
        for name in path:
            key = key.below(name) if key is not None else None
        return key

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Key]]:
        """Give every key below, top first; names of the user's choice are ``<name>``."""
        below = dict(self.children)
        if self.any_name is not None:
            below[ANY_NAME] = self.any_name
        for name, key in below.items():
            yield (*path, name), key
            yield from key.walk((*path, name))


@functools.cache
def catalogue(model: type[BaseModel], *, texts: bool = False) -> Key:
    """Return the keys of a section.

    Args:
        model: The section.
        texts: Whether their texts are wanted: those are read from the source.
    """
    found = field_texts(model) if texts else {}
    children = {
        info.alias or name: _read(
            info.annotation, tuple(info.metadata), info.description or found.get(name, ""), texts=texts
        )
        for name, info in model.model_fields.items()
    }
    free = _FREE if model.model_config.get("extra") == "allow" else None
    return Key("map", (model.__doc__ or "").strip(), children, free)


_FREE: Final = Key("anything", "A setting of the provider's own.")


def _read(annotation: object, metadata: tuple[object, ...], doc: str, *, texts: bool) -> Key:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _read(arguments[0], (*arguments[1:], *metadata), doc, texts=texts)
    if origin in {Union, types.UnionType}:
        kept = [argument for argument in arguments if argument is not type(None)]
        return _read(kept[0], metadata, doc, texts=texts) if len(kept) == 1 else Key("anything", doc)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found = catalogue(annotation, texts=texts)
        kind = "text" if TEXT_OR_MAP in metadata else "map"
        return Key(kind, doc or found.doc, found.children, found.any_name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        below = _read(arguments[1], (), "", texts=texts)
        return Key("anything", doc) if below.kind == "anything" else Key("map", doc, any_name=below)
    described = (item.description for item in metadata if isinstance(item, FieldInfo) and item.description)
    return Key(_value_kind(annotation, metadata), doc or next(described, ""))


def _value_kind(annotation: object, metadata: tuple[object, ...]) -> str:
    if typing.get_origin(annotation) is Literal:
        return " \\| ".join(str(argument) for argument in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return "list"
    if annotation is timedelta:
        return "duration"
    if any(isinstance(item, BeforeValidator) and item.func is parse_size for item in metadata):
        return "size"
    named = {str: "text", bool: "true \\| false", int: "whole number", float: "number"}
    return named.get(annotation, "anything") if isinstance(annotation, type) else "anything"
