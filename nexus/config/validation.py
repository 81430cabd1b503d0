"""A tree as written, checked against its section models: out comes a tree of parsed values, or problems with places."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, JsonValue, ValidationError

from nexus.config.catalogue import catalogue
from nexus.config.layers import Branch, Items, KeyPath, Leaf, Node, Place, join_key, key_place, plain, printable
from nexus.config.problems import MOST, Problems, perhaps, quoted
from nexus.config.redact import HIDDEN, looks_secret
from nexus.config.schema import FILES
from nexus.errors import NexusError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_LONGEST_VALUE: Final = 40
_LONGEST_SENTENCE: Final = 300
_ENV_MAPS: Final[tuple[KeyPath, ...]] = (
    ("env",),
    ("services", "*", "env"),
    ("services", "*", "build", "args"),
    ("project_overrides", "*", "env"),
    ("project_overrides", "*", "services", "*", "env"),
    ("project_overrides", "*", "services", "*", "build", "args"),
    ("backend", "docker", "build", "args"),
    ("project_overrides", "*", "backend", "docker", "build", "args"),
)
_EXPECTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of a sensible size",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "mapping_type": "a map of 'key: value' lines",
    "dict_type": "a map of 'key: value' lines",
    "model_type": "a map of 'key: value' lines",
    "model_attributes_type": "a map of 'key: value' lines",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS: Final = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def normalise(model: type[BaseModel], written: Branch, problems: Problems) -> Branch | None:
    """Return the tree with every value parsed: durations and sizes in one spelling, classes as their numbers.

    Values that were written short (``cpu: 4``) carry the place of what stood for them.

    Args:
        model: The section or file that the tree must be.
        written: The tree as read.
        problems: Gets what is wrong; the result is ``None`` then.
    """
    for pattern in _ENV_MAPS:
        written = _as_text(written, pattern)
    try:
        parsed = model.model_validate(plain(written))
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details[:MOST]:
            _report(model, written, detail, problems)
        problems.leave_out(len(details[MOST:]))
        return None
    values: dict[str, JsonValue] = parsed.model_dump(mode="json", by_alias=True, exclude_unset=True)
    grafted = _graft(values, written)
    return grafted if isinstance(grafted, Branch) else Branch({}, written.place)


def _as_text(root: Branch, pattern: KeyPath) -> Branch:
    """Give the variables of an environment, and of a build, as they were typed: ``VERSION: 1.20`` is not 1.2, ``DEBUG: yes`` not true."""
    if not pattern:
        return replace(root, children={name: _typed(node) for name, node in root.children.items()})
    name, *rest = pattern
    children = dict(root.children)
    for key in children if name == "*" else (name,):
        below = children.get(key)
        if isinstance(below, Branch):
            children[key] = _as_text(below, tuple(rest))
    return replace(root, children=children)


def _typed(node: Node) -> Node:
    if not isinstance(node, Leaf) or node.value is None or isinstance(node.value, str | list | dict):
        return node
    return replace(node, value=node.text if node.text is not None else json.dumps(node.value))


def _graft(value: JsonValue, written: Node) -> Node:
    if not isinstance(value, dict):
        note = written.note if isinstance(written, Leaf) else None
        text = written.text if isinstance(written, Leaf) and written.value is not None else None
        return Leaf(value, written.place, note, text)
    if isinstance(written, Branch):
        children: dict[str, Node] = {
            name: _graft(below, written.children.get(name, Leaf(None, written.place))) for name, below in value.items()
        }
        return Branch(children, written.place, {name: key_place(written, name) for name in value}, written.note)
    # A map that was written as one word or number. The word is worth showing.
    word = written.value if isinstance(written, Leaf) and isinstance(written.value, str) else None
    note = word if word is not None and len(word) <= _LONGEST_VALUE and "\n" not in word else None
    expanded: dict[str, Node] = {name: _graft(below, Leaf(None, written.place)) for name, below in value.items()}
    return Branch(expanded, written.place, dict.fromkeys(value, written.place), note)


def _locate(root: Branch, location: tuple[str | int, ...]) -> tuple[KeyPath, Node, Place]:
    """Return how far the location leads: the names that are there, the node, and the place of its name."""
    node: Node = root
    place = root.place
    path: list[str] = []
    for step in location:
        if isinstance(node, Branch) and isinstance(step, str) and step in node.children:
            place = key_place(node, step)
            node = node.children[step]
            path.append(step)
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            place = node.place
        else:
            break
    return tuple(path), node, place


def _report(model: type[BaseModel], written: Branch, detail: ErrorDetails, problems: Problems) -> None:
    location = detail["loc"]
    path, node, name_place = _locate(written, location)
    about_name = location[-1:] == ("[key]",) or detail["type"] == "extra_forbidden"
    place = name_place if about_name else node.place
    if detail["type"] == "extra_forbidden":
        problems.add(place, _unknown(model, path))
        return
    sentence, hint = _sentence(detail, node, path)
    problems.add(place, f"{quoted(join_key(path))} {sentence}" if path else f"this {sentence}", hint=hint)


def _unknown(model: type[BaseModel], path: KeyPath) -> str:
    parent = catalogue(model).find(path[:-1])
    name = path[-1]
    sentence = f"unknown key {quoted(join_key(path))}"
    if len(path) == 1:
        homes = [level for level, file in FILES.items() if name in file.model_fields and file is not model]
        if homes and model in FILES.values():
            return f"{sentence}; it belongs in the {' or '.join(homes)} file"
    return sentence + perhaps(name, parent.children if parent is not None else ())


def _sentence(detail: ErrorDetails, node: Node, path: KeyPath) -> tuple[str, str | None]:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "value_error":
        cause = context.get("error")
        message = (cause.message if isinstance(cause, NexusError) else str(cause))[:_LONGEST_SENTENCE]
        hint = cause.hint if isinstance(cause, NexusError) else None
        return (message if message.startswith("must ") else f"cannot be used: {printable(message)}"), hint
    found = _found(node, path)
    if kind == "literal_error":
        choices = str(context.get("expected", ""))
        written = node.value if isinstance(node, Leaf) else None
        known = choices.replace("'", "").replace(" or ", ", ").split(", ")
        guess = perhaps(written, known) if isinstance(written, str) else ""
        return f"must be {choices}, not {found}{guess}", None
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, not {found}", None
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"must be {words} {context[limit]:.12g}, not {found}", None
    if kind == "missing":
        return f"lacks {quoted(str(detail['loc'][-1]))}", None
    return f"cannot be used: {detail['msg'][:1].lower()}{detail['msg'][1:]}", None


def _found(node: Node, path: KeyPath) -> str:
    match node:
        case Branch():
            return "a map"
        case Items():
            return "a list"
        case Leaf(value=str() as text):
            if looks_secret(path):
                return HIDDEN
            return quoted(text[:_LONGEST_VALUE]) if text else "an empty text"
        case Leaf(value=None):
            return "null"
        case Leaf():
            return HIDDEN if looks_secret(path) else printable(json.dumps(node.value)[:_LONGEST_VALUE])
