"""YAML with places: text in, a tree out whose every value knows its line and column.

Built from the parser's events rather than by a loader: no tag can make an object, nesting never grows the Python stack, and
an alias costs what it expands to. Scalars follow the YAML 1.2 core schema, so ``on`` and ``12:30`` stay text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Final

import yaml
from pydantic import JsonValue

from nexus.config.bounds import MAX_DEPTH, MAX_NODES, MAX_TEXT, UNUSABLE
from nexus.config.layers import Branch, Items, Leaf, Node, Place
from nexus.config.problems import Problems, quoted

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# The characters that YAML allows in a stream, by escape elsewhere.
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: Final[dict[str, JsonValue]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, place: Place, sentence: str, hint: str | None = None) -> None:
        super().__init__(sentence)
        self.place = place
        self.sentence = sentence
        self.hint = hint


def read_scalar(text: str) -> JsonValue:
    """Return what an unquoted YAML scalar means: ``null``, a truth value, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def read_tree(text: str, source: str, problems: Problems, *, merge_keys: bool = False) -> Branch | None:
    """Return the tree of one YAML document whose top is a map; a text without values gives an empty one.

    Args:
        text: The document, without a byte order mark.
        source: What places call it: the file's path.
        problems: Gets what is wrong; the result is ``None`` when the text cannot be read as a map.
        merge_keys: Let the key ``<<`` stand, as a name like any other; it is refused otherwise.
    """
    node = read_value(text, Place(source), problems, merge_keys=merge_keys)
    if node is None or isinstance(node, Branch):
        return node
    if isinstance(node, Leaf) and node.value is None:
        return Branch({}, node.place)
    found = "a list" if isinstance(node, Items) else "a single value"
    problems.add(node.place, f"the file must hold 'key: value' lines at its top, not {found}")
    return None


def read_value(text: str, origin: Place, problems: Problems, *, merge_keys: bool = False) -> Node | None:
    """Return the tree of any YAML document, ``None`` when it cannot be read.

    Args:
        text: The document.
        origin: Names the source. Without a line, places count lines in the text.
        problems: Gets what is wrong.
        merge_keys: As for :func:`read_tree`.
    """
    builder = _Builder(origin.source, problems, merge_keys=merge_keys)
    if bad := _UNPRINTABLE.search(text):
        problems.add(
            _place_in(text, bad.start(), origin.source),
            f"the character U+{ord(bad[0]):04X} cannot be used here",
            hint="is this a text file?",
        )
        return None
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _Refused as refused:
        problems.add(refused.place, refused.sentence, hint=refused.hint)
        return None
    except yaml.MarkedYAMLError as error:
        problems.add(*_syntax_problem(text, origin.source, error))
        return None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The parser in Python lets chr() speak about escapes such as "\UFFFFFFFF".
        problems.add(Place(origin.source, 1, 1), f"bad YAML: {error}")
        return None
    return builder.root if builder.root is not None else Leaf(None, Place(origin.source, 1, 1))


def _place_in(text: str, position: int, source: str) -> Place:
    before = text[:position]
    return Place(source, before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


def _syntax_problem(text: str, source: str, error: yaml.MarkedYAMLError) -> tuple[Place, str]:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Place(source, 1, 1), f"bad YAML: {error.problem or error.context}"
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        return Place(source, mark.line + 1, indent.index("\t") + 1), "a tab cannot indent YAML; use spaces"
    if "nesting depth" in (error.problem or ""):
        # libyaml looks ahead, and newer ones give up by itself a thousand levels down, before we have seen our own limit.
        return Place(source, mark.line + 1, mark.column + 1), f"nested deeper than {MAX_DEPTH} levels"
    words = ", ".join(part for part in (error.context, error.problem) if part)
    return Place(source, mark.line + 1, mark.column + 1), f"bad YAML: {words}"


@dataclass(slots=True)
class _Open:
    """A map or list whose end has not come yet."""

    is_map: bool
    place: Place
    anchor: str | None
    first: int
    """Number of nodes before it."""
    before: int
    """Number of characters before it."""
    items: list[Node] = field(default_factory=list)
    children: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    key: str | None = None
    """The name whose value comes next."""
    doubled: bool = False
    """Whether that name was there before, so that its value is dropped."""

    @property
    def wants_key(self) -> bool:
        return self.is_map and self.key is None


class _Builder:
    """Takes events, makes the tree."""

    def __init__(self, source: str, problems: Problems, *, merge_keys: bool) -> None:
        self.root: Node | None = None
        self._merge_keys = merge_keys
        self._source = source
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int] | None] = {}
        self._count = 0
        self._length = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _Refused(self._at(event), "a second document ('---') starts here; a file holds one")
            case _:
                pass

    def _at(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        # Every parser of PyYAML sets the mark; only its types leave it open.
        return Place(self._source, mark.line + 1, mark.column + 1) if mark is not None else Place(self._source, 1, 1)

    def _counted(self, place: Place, number: int = 1, length: int = 0) -> None:
        self._count += number
        self._length += length
        if self._count > MAX_NODES:
            raise _Refused(place, f"more than {MAX_NODES} values, aliases counted by what they stand for")
        if self._length > MAX_TEXT:
            size = f"{MAX_TEXT // 1024} KiB"
            raise _Refused(place, f"more than {size} of text, aliases counted by what they stand for")

    def _untagged(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place) -> None:
        if event.tag is not None:
            self._problems.add(place, f"the tag {quoted(str(event.tag))} cannot be used; write plain values")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = self._at(event)
        text: str = event.value
        self._counted(place, length=len(text))
        self._untagged(event, place)
        if UNUSABLE.search(text):
            self._problems.add(place, "a NUL character or half of a surrogate pair cannot be used")
            text = UNUSABLE.sub("", text)
        unquoted = not event.style
        top = self._open[-1] if self._open else None
        if top is not None and top.wants_key:
            self._key(top, text, place, unquoted=unquoted)
            return
        leaf = Leaf(read_scalar(text) if unquoted else text, place, text=text)
        if event.anchor:
            self._anchors[event.anchor] = (leaf, 1, len(text))
        self._put(leaf)

    def _key(self, top: _Open, text: str, place: Place, *, unquoted: bool) -> None:
        if unquoted and text == "<<" and not self._merge_keys:
            raise _Refused(place, "merge keys ('<<') cannot be used; write the keys out")
        if not text:
            raise _Refused(place, "a key is empty")
        if text in top.keys:
            first = top.keys[text]
            self._problems.add(place, f"the key {quoted(text)} is here twice; the first is in line {first.line}")
            top.doubled = True
        else:
            top.keys[text] = place
        top.key = text

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        place = self._at(event)
        self._counted(place)
        self._untagged(event, place)
        if self._open and self._open[-1].wants_key:
            raise _Refused(place, "a key must be plain text, not a map or a list")
        if len(self._open) >= MAX_DEPTH:
            raise _Refused(place, f"nested deeper than {MAX_DEPTH} levels")
        if event.anchor:
            self._anchors[event.anchor] = None
        is_map = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(is_map, place, event.anchor, self._count - 1, self._length))

    def _end(self) -> None:
        done = self._open.pop()
        node: Node = (
            Branch(done.children, done.place, done.keys) if done.is_map else Items(tuple(done.items), done.place)
        )
        if done.anchor:
            self._anchors[done.anchor] = (node, self._count - done.first, self._length - done.before)
        self._put(node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._at(event)
        name = str(event.anchor)
        if self._open and self._open[-1].wants_key:
            raise _Refused(place, "a key must be plain text, not an alias")
        if name not in self._anchors:
            raise _Refused(place, f"the alias {quoted('*' + name)} has no anchor before it")
        target = self._anchors[name]
        if target is None:
            raise _Refused(place, f"the alias {quoted('*' + name)} stands inside what it names")
        node, size, length = target
        self._counted(place, size, length)
        if len(self._open) + _depth(node) > MAX_DEPTH:
            raise _Refused(place, f"nested deeper than {MAX_DEPTH} levels")
        self._put(replace(node, place=place))

    def _put(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if not top.is_map:
            top.items.append(node)
            return
        if top.key is not None and not top.doubled:
            top.children[top.key] = node
        top.key, top.doubled = None, False


def _depth(node: Node) -> int:
    match node:
        case Branch():
            return 1 + max(map(_depth, node.children.values()), default=0)
        case Items():
            return 1 + max(map(_depth, node.items), default=0)
        case Leaf():
            return 0
