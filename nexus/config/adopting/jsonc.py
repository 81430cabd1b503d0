"""JSON with comments and commas before a closing bracket, as dev containers are written: text in, a tree with places out.

A reader of its own, because places are the point: no JSON library keeps them. It goes through the text once, keeps no Python
stack, and has the bounds that YAML files have.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from nexus.config.bounds import MAX_DEPTH, MAX_NODES, UNUSABLE
from nexus.config.layers import Branch, Items, Leaf, Node, Place
from nexus.config.problems import Problems, quoted

_SKIPPED: Final = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER: Final = re.compile(
    r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?(?![0-9A-Za-z_.+-])", re.ASCII
)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WORDS: Final[dict[str, JsonValue]] = {"true": True, "false": False, "null": None}
_CLOSERS: Final = {"}": True, "]": False}


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, position: int, sentence: str) -> None:
        super().__init__(sentence)
        self.position = position
        self.sentence = sentence


@dataclass(slots=True)
class _Open:
    """An object or array whose end has not come yet."""

    is_map: bool
    place: Place
    items: list[Node] = field(default_factory=list)
    children: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    key: str | None = None

    def close(self) -> Node:
        return Branch(self.children, self.place, self.keys) if self.is_map else Items(tuple(self.items), self.place)


def read_json(text: str, source: str, problems: Problems) -> Branch | None:
    """Return the tree of one JSON object; comments and commas before a closing bracket are allowed.

    Args:
        text: The document, without a byte order mark.
        source: What places call it: the file's path.
        problems: Gets what is wrong; the result is ``None`` when the text cannot be read as an object.
    """
    reader = _Reader(text, source, problems)
    try:
        node = reader.document()
    except _Refused as refused:
        problems.add(reader.place(refused.position), refused.sentence)
        return None
    if isinstance(node, Branch):
        return node
    problems.add(node.place, "the file must hold one object, '{ … }', at its top")
    return None


class _Reader:
    def __init__(self, text: str, source: str, problems: Problems) -> None:
        self._text = text
        self._source = source
        self._problems = problems
        self._position = 0
        self._count = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, position: int) -> Place:
        line = bisect_right(self._lines, position)
        return Place(self._source, line, position - self._lines[line - 1] + 1)

    def document(self) -> Node:
        opened: list[_Open] = []
        while True:
            node = self._begin(opened)
            while node is not None and opened:
                node = self._attach(opened, node)
            if node is not None:
                if self._next():
                    raise _Refused(self._position, "bad JSON: the text goes on after its end")
                return node

    def _next(self) -> str:
        """Return the next character that counts; an empty text at the end."""
        skipped = _SKIPPED.match(self._text, self._position)
        self._position = skipped.end() if skipped else self._position
        if self._text.startswith("/*", self._position):
            raise _Refused(self._position, "bad JSON: this comment has no end")
        return self._text[self._position : self._position + 1]

    def _begin(self, opened: list[_Open]) -> Node | None:
        """Take what may stand where a value is due. ``None``: something was opened, or a key was read."""
        char = self._next()
        top = opened[-1] if opened else None
        if top is not None and top.key is None and _CLOSERS.get(char) is top.is_map:
            self._position += 1
            return opened.pop().close()
        if top is not None and top.is_map and top.key is None:
            self._key(top, char)
            return None
        self._counted()
        if char and char in "{[":
            if len(opened) >= MAX_DEPTH:
                raise _Refused(self._position, f"nested deeper than {MAX_DEPTH} levels")
            opened.append(_Open(char == "{", self.place(self._position)))
            self._position += 1
            return None
        return self._scalar(char)

    def _attach(self, opened: list[_Open], node: Node) -> Node | None:
        """Put a finished value where it belongs. Returns what that finished in turn."""
        top = opened[-1]
        if not top.is_map:
            top.items.append(node)
        elif top.key is not None:
            top.children.setdefault(top.key, node)
            top.key = None
        char = self._next()
        self._position += 1
        if char == ",":
            return None
        if char and _CLOSERS.get(char) is top.is_map:
            return opened.pop().close()
        closer = "}" if top.is_map else "]"
        opening = f"{top.place.line}:{top.place.column}"
        raise _Refused(self._position - 1, f"bad JSON: ',' or '{closer}' is due here (the bracket is in {opening})")

    def _key(self, top: _Open, char: str) -> None:
        if char != '"':
            raise _Refused(self._position, "bad JSON: a key in double quotes is due here")
        self._counted()
        place = self.place(self._position)
        name = self._string()
        if name in top.keys:
            first = top.keys[name]
            self._problems.add(place, f"the key {quoted(name)} is here twice; the first is in line {first.line}")
        top.keys.setdefault(name, place)
        top.key = name
        if self._next() != ":":
            raise _Refused(self._position, f"bad JSON: ':' is due after the key {quoted(name)}")
        self._position += 1

    def _scalar(self, char: str) -> Leaf:
        place = self.place(self._position)
        if char == '"':
            text = self._string()
            return Leaf(text, place, text=text)
        if number := _NUMBER.match(self._text, self._position):
            value: JsonValue = json.loads(number[0])
            if isinstance(value, float) and not math.isfinite(value):
                raise _Refused(self._position, "bad JSON: this number is too large")
            self._position = number.end()
            return Leaf(value, place, text=number[0])
        word = _WORD.match(self._text, self._position)
        if word is None or word[0] not in _WORDS:
            found = quoted(word[0]) if word else (quoted(char) if char else "the end of the text")
            raise _Refused(self._position, f"bad JSON: a value is due here, not {found}")
        self._position = word.end()
        return Leaf(_WORDS[word[0]], place, text=word[0])

    def _string(self) -> str:
        match = _STRING.match(self._text, self._position)
        if match is None:
            raise _Refused(self._position, "bad JSON: this text has no end in its line, or a '\\' that means nothing")
        value: str = json.loads(match[0])
        if UNUSABLE.search(value):
            self._problems.add(self.place(self._position), "a NUL character or half of a surrogate pair cannot be used")
            value = UNUSABLE.sub("", value)
        self._position = match.end()
        return value

    def _counted(self) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise _Refused(self._position, f"more than {MAX_NODES} values")
