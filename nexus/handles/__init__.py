"""What programs hold. Each handle owns nothing and acts through a :class:`~nexus.abc.service.WorkspaceService`, in process or remote.

- ``workspaces`` — the service with the calls that give handles; ``workspace`` — one workspace; ``operation`` — await keeps, a block owns.
- ``process`` — a command while it runs; ``reading``, ``collect``, ``lines`` — what becomes of its output; ``holding`` — staying awake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.handles import terminal, workspace

__getattr__, __dir__ = on_first_use(__name__, {"nexus.handles": ["terminal", "workspace"]})

__all__ = ["terminal", "workspace"]
