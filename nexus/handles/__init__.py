"""What programs hold. Each handle owns nothing and acts through a :class:`~nexus.abc.service.WorkspaceService`, in process or remote.

- ``workspaces`` — the service with the calls that give handles; ``workspace`` — one workspace; ``operation`` — await keeps, a block owns.
- ``process`` — a command while it runs; ``reading``, ``collect``, ``lines`` — what becomes of its output; ``holding`` — staying awake.
"""

from __future__ import annotations
