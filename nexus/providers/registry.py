"""Which providers there are, and how one is loaded by its name.

A provider comes from one of three places, in this order: a factory that the program registered, the table of those that come
with Nexus (so that a source tree works without installation), and the entry points of installed distributions::

    [project.entry-points."nexus.providers"]
    firecracker = "my_package:FirecrackerProvider"

Nothing is imported before :meth:`ProviderRegistry.load` asks for it. A distribution cannot take over a name that Nexus uses
itself; a program can, by registering a factory with ``replace=True``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, TypeAlias

from pydantic import JsonValue

from nexus.abc import Provider
from nexus.errors import AlreadyExists, InvalidArgument, NexusError, ProviderError, ProviderNotFound
from nexus.models.workspace import BACKEND_TYPES

ENTRY_POINT_GROUP: Final = "nexus.providers"

ProviderFactory: TypeAlias = Callable[[Mapping[str, JsonValue]], Provider]
"""What makes a provider from its options (the ``backends.<name>`` section). It only stores them; ``async with`` connects."""

_BUILT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "docker": "nexus.providers.docker:DockerProvider",
        "local": "nexus.providers.local:LocalProvider",
        "mock": "nexus.providers.mock:MockProvider",
    }
)
_DRIVERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({"docker": frozenset({"aiodocker", "aiohttp"})})
"""Modules that a built-in provider needs and that come with the extra of the same name."""
_PLANNED: Final = frozenset(BACKEND_TYPES) - _BUILT_IN.keys()
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.ASCII)


class ProviderRegistry:
    """The providers that one program can use, by name.

    A registry is a plain value that a manager holds; two of them never share anything. Making one imports nothing and reads
    nothing.

    Args:
        factories: Factories to register at once, by name.
        discover: Where entry points come from; those of the installed distributions when absent.
    """

    def __init__(
        self,
        factories: Mapping[str, ProviderFactory] | None = None,
        *,
        discover: Callable[[], Iterable[EntryPoint]] | None = None,
    ) -> None:
        self._factories: dict[str, ProviderFactory] = {}
        self._discover = discover or _installed
        self._found: Mapping[str, tuple[EntryPoint, ...]] | None = None
        for name, factory in (factories or {}).items():
            self.register(name, factory, replace=True)

    @classmethod
    def installed(cls) -> ProviderRegistry:
        """Return a registry of what comes with Nexus and with the installed distributions, and nothing else."""
        return cls()

    def register(self, name: str, factory: ProviderFactory, *, replace: bool = False) -> None:
        """Make ``name`` mean ``factory`` from now on.

        Args:
            name: Lower-case letters, digits, ``-`` and ``_``; a letter first.
            factory: Called with the provider's options each time the provider is loaded.
            replace: Whether a provider that has this name already gives way.

        Raises:
            InvalidArgument: When the name breaks the rule.
            AlreadyExists: When the name is taken and ``replace`` is false.
        """
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name!r} is not a provider name: use lower-case letters, digits, '-' and '_', a letter first"
            )
        if not replace and name in self.names():
            raise AlreadyExists(
                f"a provider named {name!r} is there already", hint="choose another name, or pass replace=True"
            )
        self._factories[name] = factory

    def names(self) -> tuple[str, ...]:
        """Return the names that :meth:`load` knows, sorted. A listed driver may still turn out not to be installed."""
        return tuple(sorted({*self._factories, *_BUILT_IN, *self._entry_points()}))

    def load(self, name: str, options: Mapping[str, JsonValue] | None = None) -> Provider:
        """Import the provider's driver where that was not done before, and return a new provider, not yet opened.

        Args:
            name: A name of :meth:`names`.
            options: The provider's own settings.

        Raises:
            ProviderNotFound: When no provider has this name, or the package of its driver is not installed.
            ProviderError: When its driver cannot be imported or makes something that is no provider; the error names
                the distribution it comes from.
            NexusError: What the provider itself raises for options that it does not accept.
        """
        factory, origin = self._factory(name)
        try:
            provider = factory(options or {})
        except NexusError:
            raise
        except Exception as exc:
            raise ProviderError(
                f"provider {name!r} ({origin}) could not be made: {type(exc).__name__}: {exc}",
                details={"provider": name, "origin": origin},
            ) from exc
        # Asked of the object because a factory may be any callable; a third party's mistake is named here, once.
        if not isinstance(provider, Provider):
            raise ProviderError(
                f"provider {name!r} ({origin}) made a {type(provider).__name__}, which is not a provider",
                hint="see nexus.abc.Provider for what it has to have, and nexus.testing.check_provider to prove it",
                details={"provider": name, "origin": origin},
            )
        return provider

    def _factory(self, name: str) -> tuple[ProviderFactory, str]:
        if name in self._factories:
            return self._factories[name], "registered by this program"
        if name in _BUILT_IN:
            return _import_built_in(name), "comes with Nexus"
        found = self._entry_points().get(name, ())
        if len(found) == 1:
            return _import_entry_point(found[0]), _origin(found[0])
        if found:
            origins = ", ".join(sorted(_origin(point) for point in found))
            raise ProviderError(
                f"more than one distribution registers a provider named {name!r}: {origins}",
                hint="uninstall all but one, or register the one you mean with ProviderRegistry.register",
                details={"provider": name},
            )
        raise self._not_found(name)

    def _entry_points(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        if self._found is None:
            found: dict[str, tuple[EntryPoint, ...]] = {}
            for point in self._discover():
                if point.name not in _BUILT_IN:
                    found[point.name] = (*found.get(point.name, ()), point)
            self._found = found
        return self._found

    def _not_found(self, name: str) -> ProviderNotFound:
        known = self.names()
        listed = ", ".join(known)
        if name in _PLANNED:
            return ProviderNotFound(
                f"there is no driver for the {name} backend yet",
                hint=f"use one of: {listed}; or install a distribution that registers {name!r}",
                details={"provider": name, "known": known},
            )
        close = difflib.get_close_matches(name, known, n=1)
        return ProviderNotFound(
            f"no provider is named {name!r}",
            hint=f"perhaps you meant {close[0]!r}; there are: {listed}" if close else f"there are: {listed}",
            details={"provider": name, "known": known},
        )


def provider_names() -> tuple[str, ...]:
    """Return the names of the providers that come with Nexus or with an installed distribution, sorted."""
    return ProviderRegistry().names()


def load_provider(name: str, options: Mapping[str, JsonValue] | None = None) -> Provider:
    """Return a new provider, not yet opened: :meth:`ProviderRegistry.load` of a registry with nothing added.

    Raises:
        ProviderNotFound: When no provider has this name, or the package of its driver is not installed.
        ProviderError: When its driver cannot be imported or used.
    """
    return ProviderRegistry().load(name, options)


@cache
def _installed() -> tuple[EntryPoint, ...]:
    """Return them; every installed distribution is looked at, which takes a while and is done once."""
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _import_built_in(name: str) -> ProviderFactory:
    module, _, attribute = _BUILT_IN[name].partition(":")
    try:
        factory: ProviderFactory = getattr(import_module(module), attribute)
    except ImportError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing in _DRIVERS.get(name, frozenset()):
            raise ProviderNotFound(
                f"the {name} backend needs the package {missing}, which is not installed",
                hint=f'pip install "nexus-workspace[{name}]"',
                details={"provider": name, "missing": missing},
            ) from exc
        raise ProviderError(
            f"provider {name!r}, which comes with Nexus, cannot be imported: {exc}", details={"provider": name}
        ) from exc
    return factory


def _import_entry_point(point: EntryPoint) -> ProviderFactory:
    origin = _origin(point)
    try:
        factory: ProviderFactory = point.load()
    except Exception as exc:
        raise ProviderError(
            f"provider {point.name!r} of {origin} cannot be imported: {type(exc).__name__}: {exc}",
            hint=f"repair or uninstall {origin}",
            details={"provider": point.name, "origin": origin},
        ) from exc
    if not callable(factory):
        raise ProviderError(
            f"provider {point.name!r} of {origin} is a {type(factory).__name__}, which cannot be called",
            details={"provider": point.name, "origin": origin},
        )
    return factory


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed distribution"
