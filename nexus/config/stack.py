"""``ConfigStack``: the layers of one project, what they come to, and why."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from pydantic import JsonValue

from nexus.config import checks
from nexus.config.alone import check_each_alone
from nexus.config.assignments import SHORT_NAMES, environment_layer, flag_layer
from nexus.config.builtin import built_in
from nexus.config.capping import capped
from nexus.config.catalogue import catalogue
from nexus.config.effective import RENAMED
from nexus.config.explain import Explanation, explain
from nexus.config.files import Files, load_files
from nexus.config.layers import Branch, KeyPath, Layer, LayerKind, child, join_key, placed, plain, split_key
from nexus.config.merge import merge_branches, merge_layers
from nexus.config.merged_settings import build_settings
from nexus.config.neighbours import shared_ports
from nexus.config.problems import Problem, Problems, by_file, perhaps, quoted
from nexus.config.redact import redacted, reference_name
from nexus.config.schema import Effective, Level
from nexus.config.secret_settings import check_secrets, secret_warnings, whole_entries
from nexus.config.settings import Settings
from nexus.errors import ConfigError

if TYPE_CHECKING:
    from nexus.config.adopting import Adopted


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ConfigStack:
    """Five layers, low to high: the node's, the user's and the project's file, flags, and ``NEXUS_*`` variables.

    Below them are the built-in defaults; between project and flags stands what the user's file says for this one project
    (``project_overrides``). Maps merge, lists replace, scalars override, ``null`` removes. Made by :meth:`load`; never changes.
    """

    settings: Settings
    """The result, typed and frozen."""
    layers: tuple[Layer, ...]
    """From low to high, under effective keys."""
    warnings: tuple[str, ...]
    """What is allowed but worth knowing: ``file:line:column: sentence``."""
    _merged: Branch
    _files: Files
    _flags: Branch
    _env: Mapping[str, str]

    @classmethod
    def load(
        cls,
        project: Path | str = ".",
        *,
        flags: Mapping[str, JsonValue] | None = None,
        env: Mapping[str, str] | None = None,
        node_file: Path | None = None,
        user_file: Path | None = None,
    ) -> Self:
        """Read the files and return the stack. Blocks for a few milliseconds; on an event loop use a worker thread.

        Args:
            project: The project's folder, or one inside it. In a worktree of ours the main checkout's file counts.
            flags: Values by effective key (``defaults.image``) or short name (``image``); see :func:`parse_assignment`.
            env: The environment, the process's own when ``None``. ``NEXUS_*``, ``HOME`` and ``XDG_DATA_HOME`` are read, and
                references ``env:NAME`` are resolved from it.
            node_file: Read in place of ``/etc/nexus/config.yaml`` or ``/opt/nexus/etc/config.yaml``.
            user_file: Read in place of ``~/.nexus/config.yaml``.

        Returns:
            The stack. A file that does not exist says nothing.

        Raises:
            ConfigError: When anything in any layer is wrong; ``problems`` lists all of it.
        """
        problems = Problems()
        files = load_files(project, env=env, node_file=node_file, user_file=user_file, problems=problems)
        stack = cls._assemble(
            files, flag_layer(flags or {}, problems), dict(os.environ if env is None else env), problems
        )
        problems.raise_any()
        if stack is None:  # a stack is missing only where a problem says why
            raise ConfigError("the configuration cannot be used")
        return stack

    @classmethod
    def validate(
        cls,
        project: Path | str = ".",
        *,
        level: Level | None = None,
        flags: Mapping[str, JsonValue] | None = None,
        env: Mapping[str, str] | None = None,
        node_file: Path | None = None,
        user_file: Path | None = None,
    ) -> tuple[Problem, ...]:
        """Return everything that is wrong or worth knowing, of all files at once, each from top to bottom; errors come first.

        Each file is checked alone, also for what another layer would hide by overriding it. The merged result is checked when
        every file can be read. :meth:`load` raises exactly for what makes the merged result unusable.

        Args:
            project: As for :meth:`load`.
            level: Look at this one file alone: ``node``, ``user`` or ``project``. All layers when absent.
            flags: As for :meth:`load`.
            env: As for :meth:`load`.
            node_file: As for :meth:`load`.
            user_file: As for :meth:`load`.

        Returns:
            Problems of severity ``error``, then those of severity ``warning``; none when all is well.

        Raises:
            ConfigError: When ``project`` is no folder.
        """
        problems = Problems()
        files = load_files(project, env=env, node_file=node_file, user_file=user_file, problems=problems)
        variables = dict(os.environ if env is None else env)
        flagged = flag_layer(flags or {}, problems)
        warnings = [Problem.warning(line) for line in files.warnings]
        if level is None:
            merged = cls._assemble(files, flagged, variables, problems)
            if merged is not None:
                warnings = [Problem.warning(line) for line in merged.warnings]
                warnings += merged.shared_ports()
        problems.include(check_each_alone(files, level=level, env=variables))
        found = by_file([*problems.ordered(), *warnings], [str(path) for _, path in files.paths])
        own = files.sources.get(LayerKind(level), ()) if level is not None else ()
        return tuple(problem for problem in found if level is None or problem.place.source in own)

    @classmethod
    def _assemble(cls, files: Files, flags: Branch, env: Mapping[str, str], problems: Problems) -> Self | None:
        layers = [built_in(), *files.layers]
        if flags.children:
            layers.append(Layer(LayerKind.FLAGS, whole_entries(flags)))
        variables = environment_layer(env, merge_layers(layers), problems)
        if variables.children:
            layers.append(Layer(LayerKind.ENVIRONMENT, whole_entries(variables)))
        if problems:
            return None
        layers = capped(layers)
        merged = merge_layers(layers)
        settings = build_settings(merged, layers=layers, root=files.root, env=env, home=files.home, problems=problems)
        if settings is None:
            return None
        checks.check(settings, merged, layers, problems)
        check_secrets(settings, merged, env, problems)
        if problems:
            return None
        lines = [*files.warnings, *checks.dormant_warnings(flags), *checks.dormant_warnings(variables)]
        lines.extend(checks.warnings(settings, merged, layers, env))
        lines.extend(secret_warnings(settings, env))
        return cls(settings, tuple(layers), tuple(lines), merged, files, flags, env)

    def shared_ports(self) -> tuple[Problem, ...]:
        """Return a warning for each host port that this project and another one of the user's both fix. Reads those files."""
        return tuple(shared_ports(self.settings, self._merged))

    def with_flags(self, flags: Mapping[str, JsonValue]) -> Self:
        """Return a stack with more flags, which override the flags this one has. Reads no file again.

        Args:
            flags: As for :meth:`load`.

        Raises:
            ConfigError: When a flag is wrong, or the result is.
        """
        problems = Problems()
        merged = merge_branches(self._flags, flag_layer(flags, problems))
        stack = self._assemble(self._files, merged, self._env, problems)
        problems.raise_any()
        if stack is None:
            raise ConfigError("the configuration cannot be used")
        return stack

    def get(self, key: str) -> JsonValue:
        """Return the effective value of a key; ``None`` when it has none. Secrets are not hidden here.

        Args:
            key: For example ``defaults.idle_timeout`` or ``ports.web``. A name with a dot in it stands in double quotes.

        Raises:
            ConfigError: When there is no such key.
        """
        node = child(self._merged, *self._path(key))
        return None if node is None else plain(node)

    def is_passing(self, key: str) -> bool:
        """Return whether a key's value is for this run alone: a flag or a variable set it, no file.

        Args:
            key: As for :meth:`get`.

        Raises:
            ConfigError: When there is no such key.
        """
        path = self._path(key)
        passing = (layer for layer in self.layers if layer.kind in {LayerKind.FLAGS, LayerKind.ENVIRONMENT})
        return any(child(layer.root, *path) is not None for layer in passing)

    def explain(self, key: str) -> Explanation:
        """Return why a key has its value: every layer's value with its place, and the winner.

        Args:
            key: As for :meth:`get`.

        Raises:
            ConfigError: When there is no such key.
        """
        return explain(key, self._path(key), self.layers, self._merged, self._files.notes)

    def origin(self, key: str) -> tuple[LayerKind, str] | None:
        """Return which layer the effective value of a key comes from, and where it is written; ``None`` when there is no value.

        Args:
            key: As for :meth:`get`.

        Raises:
            ConfigError: When there is no such key.
        """
        why = self.explain(key)
        return next(((entry.layer, entry.place) for entry in reversed(why.layers) if entry.wins), None)

    def written(self, key: str, kinds: Collection[LayerKind]) -> str | None:
        """Return where one of these layers says something at or below a key; ``None`` when none does.

        Args:
            key: As for :meth:`get`.
            kinds: The layers.
        """
        path = self._path(key)
        found = (child(layer.root, *path) for layer in self.layers if layer.kind in kinds)
        return next((str(node.place) for node in found if node is not None), None)

    def resolve_env(self, values: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return variables with every reference ``env:NAME`` replaced by what the environment holds.

        Args:
            values: The variables; those of the settings when ``None``.

        Raises:
            ConfigError: When a variable that is referred to is not set; each is named with its place.
        """
        problems = Problems()
        given = self.settings.env if values is None else values
        resolved = {name: self._resolved(("env", name), value, problems) for name, value in given.items()}
        problems.raise_any()
        return {name: value for name, value in resolved.items() if isinstance(value, str)}

    def backend_options(self, backend: str) -> dict[str, JsonValue]:
        """Return a backend's options with every reference ``env:NAME`` replaced by what the environment holds.

        ``settings.backends`` keeps the references, so that it can be written down; this is for opening the provider.

        Args:
            backend: The backend's name.

        Raises:
            ConfigError: When a variable that is referred to is not set; each is named with its place.
        """
        problems = Problems()
        resolved = self._resolved(("backends", backend), dict(self.settings.backends.get(backend, {})), problems)
        problems.raise_any()
        return resolved if isinstance(resolved, dict) else {}

    def _resolved(self, path: KeyPath, value: JsonValue, problems: Problems) -> JsonValue:
        match value:
            case dict():
                return {name: self._resolved((*path, name), below, problems) for name, below in value.items()}
            case list():
                return [self._resolved(path, below, problems) for below in value]
            case str() if (source := reference_name(value)) is not None:
                found = self._env.get(source)
                if found is None:
                    problems.add(
                        placed(self._merged, path),
                        f"{quoted(join_key(path))} refers to the variable {source}, which is not set",
                        hint=f"set {source} in the environment, or give {quoted(join_key(path))} another value",
                    )
                return found
            case _:
                return value

    def to_json(self) -> dict[str, JsonValue]:
        """Return all effective values under their keys, as JSON, with what looks like a secret hidden."""
        shown = redacted((), plain(self._merged))
        return shown if isinstance(shown, dict) else {}

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment that it was read with, in which references are looked up."""
        return MappingProxyType(dict(self._env))

    @property
    def adopted(self) -> Adopted | None:
        """The dev container or compose file that stands in for the project's own file; ``None`` when none does."""
        return self._files.adopted

    @property
    def files(self) -> Mapping[str, Path]:
        """Where each file was looked for, by layer: ``node``, ``user``, ``project``. It need not exist."""
        return {kind.value: path for kind, path in self._files.paths}

    def __repr__(self) -> str:
        return f"ConfigStack({str(self.settings.project_root)!r}, layers={[layer.kind.value for layer in self.layers]})"

    def _path(self, key: str) -> KeyPath:
        path = split_key(key)
        keys = catalogue(Effective)
        if path is not None and (keys.find(path) is not None or child(self._merged, *path) is not None):
            return path
        raise ConfigError(
            f"unknown key {quoted(key)}{_suggestion(key, path)}", hint="keys are the effective ones: defaults.image"
        )


def _suggestion(key: str, path: KeyPath | None) -> str:
    meant = SHORT_NAMES.get(key.replace("-", "_")) or RENAMED.get(path or ())
    if meant is not None:
        return f"; perhaps you meant '{join_key(meant)}'"
    return perhaps(key, (".".join(known) for known, _ in catalogue(Effective).walk()))
