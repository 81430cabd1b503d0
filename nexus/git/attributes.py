"""``.gitattributes``: which conversion applies to which path.

Only attributes that change content are kept, so a long file of diff and export settings costs nothing. The files of a tree,
the user's own and ``info/attributes`` rank as git ranks them: user, root, deeper folders, ``info``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from dulwich.config import Config

from nexus.git import beneath
from nexus.git.eol import PLAIN, Conversion, EolSettings, Value, conversion_for
from nexus.git.wildmatch import MalformedPattern, compile_pattern
from nexus.models.workspace import Repository

FileReader: TypeAlias = "Callable[[bytes], bytes | None]"
"""Gives the ``.gitattributes`` of a folder (its path without a slash at the end); ``None`` when it has none."""

_RELEVANT: Final = frozenset({b"text", b"crlf", b"eol", b"ident", b"filter", b"working-tree-encoding"})
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*')
_ESCAPE: Final = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_LIMIT: Final = 100 << 20
_Setting: TypeAlias = "tuple[bytes, Value | None]"


class _Rule(NamedTuple):
    pattern: re.Pattern[bytes]
    settings: tuple[_Setting, ...]


class Attributes:
    """Answers for one tree.

    Args:
        read: Reads the tree's ``.gitattributes`` files.
        config: The configuration: line ends, and where the user's own attributes are.
        repository: Whose ``info/attributes`` ranks above all.
    """

    def __init__(self, read: FileReader, config: Config, repository: Repository) -> None:
        self._read = read
        self._settings = EolSettings.read(config)
        self._macros: dict[bytes, tuple[_Setting, ...]] = {b"binary": ((b"text", False),)}
        self._folders: dict[bytes, tuple[_Rule, ...]] = {}
        self._user = self._parse(_user_file(config), b"", macros=True)
        self._root = self._parse(read(b""), b"", macros=True)
        info = _trusted(repository.common_dir / "info" / "attributes")
        self._info = self._parse(info, b"", macros=True)
        self._default = conversion_for({}, self._settings)

    def conversion(self, path: bytes) -> Conversion:
        """Return what happens to the content of a path."""
        found: dict[bytes, Value] = {}
        for rules in (self._user, *self._along(path), self._info):
            for rule in rules:
                if rule.pattern.fullmatch(path):
                    for name, value in rule.settings:
                        if value is None:
                            found.pop(name, None)
                        else:
                            found[name] = value
        return conversion_for(found, self._settings) if found else self._default

    def all_plain(self, folders: set[bytes]) -> bool:
        """Return whether no path is converted at all, given every folder that has a ``.gitattributes``."""
        rules = (self._user, self._root, self._info, *(self._of(folder) for folder in folders if folder))
        return self._default is PLAIN and not any(rules)

    def _along(self, path: bytes) -> list[tuple[_Rule, ...]]:
        rules = [self._root]
        at = path.find(b"/")
        while at != -1:
            rules.append(self._of(path[:at]))
            at = path.find(b"/", at + 1)
        return rules

    def _of(self, folder: bytes) -> tuple[_Rule, ...]:
        if folder not in self._folders:
            # Macros count only at the top: git ignores them in deeper files.
            self._folders[folder] = self._parse(self._read(folder), folder, macros=False)
        return self._folders[folder]

    def _parse(self, content: bytes | None, base: bytes, *, macros: bool) -> tuple[_Rule, ...]:
        rules: list[_Rule] = []
        for raw in (content or b"").split(b"\n"):
            line = raw.strip()
            if not line or line.startswith(b"#"):
                continue
            pattern, words = _split(line)
            if pattern.startswith(b"[attr]"):
                if macros:
                    self._macros[pattern.removeprefix(b"[attr]")] = self._settings_of(words)
                continue
            settings = self._settings_of(words)
            if settings and not pattern.startswith(b"!") and not pattern.endswith(b"/"):
                try:
                    rules.append(_Rule(compile_pattern(pattern, base=base), settings))
                except MalformedPattern:
                    continue
        return tuple(rules)

    def _settings_of(self, words: list[bytes]) -> tuple[_Setting, ...]:
        settings: list[_Setting] = []
        for word in words:
            name, value = _setting(word)
            if value is True and name in self._macros:
                settings.extend(self._macros[name])
            elif name in _RELEVANT:
                settings.append((name, value))
        return tuple(settings)


def _split(line: bytes) -> tuple[bytes, list[bytes]]:
    quoted = _QUOTED.match(line)
    if quoted:
        return _ESCAPE.sub(_unescape, quoted[1]), line[quoted.end() :].split()
    pattern, *words = line.split()
    return pattern, words


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 0xFF]) if len(code) == 3 else _ESCAPES.get(code, code)


def _setting(word: bytes) -> _Setting:
    if word.startswith(b"-"):
        return word[1:], False
    if word.startswith(b"!"):
        return word[1:], None
    name, equals, value = word.partition(b"=")
    return name, value if equals else True


def _user_file(config: Config) -> bytes | None:
    try:
        named = Path(os.fsdecode(config.get((b"core",), b"attributesFile"))).expanduser()
    except (KeyError, RuntimeError):
        base = os.environ.get("XDG_CONFIG_HOME")
        named = (Path(base) if base else Path("~/.config").expanduser()) / "git" / "attributes"
    return _trusted(named)


def _trusted(file: Path) -> bytes | None:
    """Return one of the user's own files, which may well be a link to another place."""
    try:
        return beneath.read_regular(file.resolve(), limit=_LIMIT)
    except (OSError, RuntimeError):
        return None
