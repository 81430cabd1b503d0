"""The composition root: the one package that knows how all the parts fit.

- ``opening`` — the workspaces of a repository in this process; ``connecting`` — those behind a daemon.

Neither loads what only the other one needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.app.connecting import connect
    from nexus.app.opening import discover, list_everywhere, open  # noqa: A004

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.app.connecting": ["connect"],
        "nexus.app.opening": ["discover", "list_everywhere", "open"],
    },
)

__all__ = ["connect", "discover", "list_everywhere", "open"]
