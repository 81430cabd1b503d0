"""Backends: each a package of its own that implements :mod:`nexus.abc.provider` and knows nothing of the others.

:mod:`nexus.providers.registry` finds them by name and loads one on its first use, so that nobody pays for a driver that is not
asked for.
"""

from __future__ import annotations
