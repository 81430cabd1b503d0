"""The daemon's own process. ``boulder daemon start`` runs it."""

from __future__ import annotations

import sys

from nexus.serving.background import run_in_background

if __name__ == "__main__":
    sys.exit(run_in_background())
