"""The reference page of every key, written from the section models so that it cannot fall behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from nexus.config.assignments import NOT_SETTINGS, NOT_SETTINGS_PREFIX, PREFIX, SHORT_NAMES
from nexus.config.bounds import MAX_DEPTH, MAX_NODES, MAX_TEXT
from nexus.config.builtin import built_in
from nexus.config.catalogue import ANY_NAME, Key, catalogue
from nexus.config.dormant import BECAUSE, DORMANT
from nexus.config.effective import RENAMED
from nexus.config.explain import show_value
from nexus.config.illustration import example_of
from nexus.config.layers import Branch, KeyPath, Leaf, child, join_key
from nexus.config.restrict import HOST_CODE, REFUSED
from nexus.config.schema import FILES, Effective, Level
from nexus.config.sections import Resources
from nexus.config.usual_files import MAX_BYTES, NODE_FILES
from nexus.models.ports import RESERVED_PORTS
from nexus.models.units import format_size

_INTRODUCTION: Final = f"""\
# Configuration

<!-- Written by nexus.config.configuration_reference(); change the models, not this page. -->

Five layers, each overriding those before it: the node's file, the user's file, the project's file, flags, environment.
Below them are built-in defaults. What the user's file says under `project_overrides` for one project ranks above that
project's own file and below flags.

| layer | place |
|---|---|
| node | {" or ".join(f"`{path}`" for path in NODE_FILES)}; when both exist the first counts |
| user | `~/.nexus/config.yaml` |
| project | `<project>/.nexus/config.yaml`; in a worktree below `.nexus/worktrees/` that of the main checkout |
| project_overrides | the user's file |
| flags | `--set KEY=VALUE`, and the short names below |
| environment | `NEXUS_*` |

Maps merge, lists replace, scalars override, `null` removes what lower layers say. `boulder config explain KEY` shows every
layer's value with file, line and column, and which one holds.

`boulder config validate` checks every file alone and all of them together, and lists every problem at once with its place;
`--level node`, `user` or `project` looks at one file (`ConfigStack.validate` in Python). Errors end with status 3. Warnings are
about what is allowed but worth knowing: a key that nothing acts on yet, a reference that leads nowhere now, a host port that two
of your projects fix.

`boulder init` writes a first project file that fits what it finds (Python, Node.js, Go, Rust, a dev container, a compose file),
and beside it the JSON Schema that its first line names for editors with a YAML language server. The schema is not committed: in
a fresh clone `boulder init --schema` writes it. `boulder config schema LEVEL --path` says where the schemas of all three files
are installed, for `# yaml-language-server: $schema=/that/path` in your own or a node's file.

A project without a file of ours is read from its dev container or compose file ([how](../how-to/adopt.md)); `boulder init
--from devcontainer` or `--from compose` writes the file that means the same.

- **duration**: `30m`, `1h30m`, `45s`, or a number of seconds. **size**: `8G`, `512MiB`, or a number of bytes; units are powers
  of 1024. **resources**: `small`, `medium`, `large`, `xlarge`, or `cpu`, `memory` and `storage`; `cpu: 4` means
  `cpu: {{cores: 4}}`, `memory: 8G` means `memory: {{bytes: 8G}}`. **port**: `web: 3000` means `web: {{container: 3000}}`.
- Files are UTF-8 YAML (1.2 core schema) of at most {MAX_BYTES // 1024} KiB, {MAX_DEPTH} levels, {MAX_NODES} values and
  {MAX_TEXT // 1024 // 1024} MiB of text, aliases counted by what they stand for; without tags, merge keys and second documents. Keys that
  are not below are errors.
- `env:NAME` as a value of `env` or of a backend's option refers to an environment variable. It is resolved when a command
  or a backend needs it, never before and never written anywhere.
- A name with a dot in it stands in double quotes: `workspaces."next.js".path`.
- Host ports {RESERVED_PORTS.start}-{RESERVED_PORTS.end} are kept by Nexus: neither a fixed port nor `port_range` may use them.
"""

_PROJECT_RULES: Final = """\
## What a project's file cannot say

It arrives with a clone and is not trusted. Besides the keys above that it does not have, these are refused:

- a `dockerfile`, a folder that a build sees, a secret's `path` or the source of a volume outside the project: absolute, with `..`
  or `~`, or (for what is built) through a symbolic link;
- a reference `env:NAME` under `env`: it would hand the clone any variable of yours. Put it under `project_overrides` in your
  own file, together with the project's folder under `workspaces`;
- variables that begin with `NEXUS_`;
- a secret with `source: command`;
- with the backend `local`, variables that make programs run code: {variables};
- the file itself being a symbolic link out of the project, or belonging to another user than the folder.
"""


ELSEWHERE: Final[Mapping[str, str]] = {
    "backends.docker.build_timeout": "1h",
    "backends.docker.pids_limit": "4096",
    "backends.docker.pull_timeout": "30m",
    "backends.local.pids_limit": "4096",
    "backends.docker.subnet_pool": "10.213.0.0/16",
    "backends.docker.user": "host",
    "multi_user.auth.sudo_access": "false",
    "multi_user.isolation.networks": "true",
    "multi_user.isolation.volumes": "true",
    "multi_user.isolation.workspaces": "true",
    "ports.<name>.protocol": "tcp",
    "ports.<name>.visibility": "private",
    "project_overrides.<name>.ports.<name>.protocol": "tcp",
    "project_overrides.<name>.ports.<name>.visibility": "private",
}
"""Defaults that are no layer's: what a backend does, or a rule, when nobody says anything."""

_COLUMNS: Final = ("key", "value", "default", "effect", "example")


def configuration_reference() -> str:
    """Return ``docs/reference/configuration.md``."""
    parts = [_INTRODUCTION]
    for level, file in FILES.items():
        parts.append(f"## The {level} file\n\n{(file.__doc__ or '').strip()}\n")
        rows = (_row(path, key, level) for path, key in _rows(catalogue(file, texts=True)))
        parts.append(_table(_COLUMNS, rows))
    rows = (_row(path, key, "project") for path, key in catalogue(Resources, texts=True).walk())
    parts.append(f"## Resources\n\n{(Resources.__doc__ or '').strip()}\n\n{_table(_COLUMNS, rows)}")
    variables = ", ".join(f"`{name.replace('.*', '*')}`" for name in HOST_CODE.pattern.split("|"))
    parts.append(_PROJECT_RULES.format(variables=variables))
    parts.append(
        _table(("refused key", "because"), ((f"`{_dotted(path)}`", reason) for path, reason in REFUSED.items()))
    )
    parts.append(_effective())
    parts.append(_names())
    return "\n".join(parts)


def _row(path: KeyPath, key: Key, level: Level) -> tuple[str, ...]:
    return (
        f"`{_dotted(path)}`",
        key.kind,
        _shown(default_of(path, level)),
        effect_of(path, key, level),
        _shown(example_of(path, key)),
    )


def _shown(text: str | None) -> str:
    return "" if text is None else f"`{text.replace('|', chr(92) + '|')}`"


def default_of(path: KeyPath, level: Level) -> str | None:
    """Return what holds when no layer says anything about a key, ``None`` when nothing does.

    Args:
        path: The key, as its file spells it.
        level: The file.
    """
    effective = RENAMED.get(path, path) if level == "project" else path
    node = child(built_in().root, *effective)
    if isinstance(node, Branch):
        return node.note  # the name of a class, in place of its numbers
    if isinstance(node, Leaf) and node.value is not None:
        key = catalogue(Effective, texts=True).find(effective)
        is_size = key is not None and key.kind == "size"
        return format_size(node.value) if is_size and isinstance(node.value, int) else show_value(node.value)
    return ELSEWHERE.get(_dotted(path))


def effect_of(path: KeyPath, key: Key, level: Level) -> str:
    """Return what a key does, in the words that stand under its field.

    Raises:
        ValueError: When nobody wrote any: a key that is not explained is not finished.
    """
    if not key.doc.strip():
        msg = f"nothing says what {level} key {_dotted(path)!r} does; write it under its field"
        raise ValueError(msg)
    if path not in DORMANT:
        return key.doc
    return f"{key.doc} *It {BECAUSE.get(path, 'is accepted but not acted on yet')}.*"


def _dotted(path: KeyPath) -> str:
    return ".".join(name if name == ANY_NAME else join_key((name,)) for name in path)


def _rows(key: Key, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Key]]:
    """Give every key as :meth:`Key.walk` does, the parts of resources left out: they have a table of their own."""
    below = {**key.children, **({ANY_NAME: key.any_name} if key.any_name is not None else {})}
    for name, inner in below.items():
        if set(inner.children) == set(Resources.model_fields) and all(
            part.children for part in inner.children.values()
        ):
            yield (*path, name), replace(inner, kind="resources", children={})
        else:
            yield (*path, name), inner
            yield from _rows(inner, (*path, name))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines.extend("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(lines) + "\n"


def _effective() -> str:
    renamed = _table(
        ("in a project's file or an override", "effective key"),
        ((f"`{_dotted(spelled)}`", f"`{_dotted(key)}`") for spelled, key in RENAMED.items()),
    )
    rows = []
    for path, key in catalogue(Effective, texts=True).walk():
        leaf = child(built_in().root, *path)
        default = f"`{show_value(leaf.value)}`" if isinstance(leaf, Leaf) and leaf.value is not None else ""
        if key.kind != "map":
            rows.append((f"`{_dotted(path)}`", key.kind, default))
    return (
        "## Effective keys\n\n"
        "Flags, the environment, `explain` and `get` use these. A project's file spells some of them differently; there "
        "`secrets.<name>` is `secrets.named.<name>`. `limits.default_resources` of the node is its `defaults.resources` where it "
        "names none. A layer that names an image and no dockerfile unsets the dockerfile of lower layers. "
        "`limits` and `multi_user` are the node file's alone.\n\n"
        f"{renamed}\n{_table(('key', 'value', 'built-in'), rows)}"
    )


def _names() -> str:
    short = _table(
        ("flag", "variable", "key"),
        (
            (f"`--{name.replace('_', '-')}`", f"`{PREFIX}{name.upper()}`", f"`{_dotted(path)}`")
            for name, path in SHORT_NAMES.items()
        ),
    )
    others = ", ".join(f"`{name}`" for name in sorted(NOT_SETTINGS))
    return (
        "## Flags and variables\n\n"
        f"{short}\n"
        f"Any other key is `{PREFIX}` and its names in upper case, joined by `__`: `NEXUS_DEFAULTS__IMAGE`, "
        "`NEXUS_PORTS__WEB__HOST`, `NEXUS_ENV__NODE_ENV`. An empty variable counts as unset; a `NEXUS_` variable that is no key "
        f"is an error, except {others} and `{NOT_SETTINGS_PREFIX}*` "
        f"(but for `{NOT_SETTINGS_PREFIX}__*` and `{NOT_SETTINGS_PREFIX}S__*`), which are not settings: the folder of the "
        "state, the passphrase of the encrypted store, what tests may not skip, at which moment a script runs, "
        "and what a program inside a workspace is told.\n"
    )
