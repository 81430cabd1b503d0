"""Development workspaces: a name, a git branch in its own worktree, and a place where that tree runs."""

from __future__ import annotations

__version__ = "0.1.0"
