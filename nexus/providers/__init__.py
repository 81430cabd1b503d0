"""Backends: each a package of its own that implements :mod:`nexus.abc.provider` and knows nothing of the others.

A program that brings a provider of its own registers it with a :class:`ProviderRegistry` and hands that to :func:`nexus.open`; a
distribution names it under the entry point group ``nexus.providers``. A driver is imported when it is first asked for, so that
nobody pays for one that is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.providers.registry import ProviderFactory, ProviderRegistry, load_provider, provider_names

__getattr__, __dir__ = on_first_use(
    __name__, {"nexus.providers.registry": ["ProviderFactory", "ProviderRegistry", "load_provider", "provider_names"]}
)

__all__ = ["ProviderFactory", "ProviderRegistry", "load_provider", "provider_names"]
