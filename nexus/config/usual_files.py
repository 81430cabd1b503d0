"""Where configuration files usually are, and how large they may be. Nothing is read here, so that looking for them costs nothing."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NODE_FILES: Final = (Path("/etc/nexus/config.yaml"), Path("/opt/nexus/etc/config.yaml"))
"""Where a node's file may be; the first that exists counts."""
FILE: Final = Path(".nexus") / "config.yaml"
"""The file of a user below the home folder, and of a project below its root."""
MAX_BYTES: Final = 1024 * 1024


def home_folder(env: Mapping[str, str] | None) -> Path | None:
    """Return the home folder: ``HOME`` of the environment, the account's own when the process's environment lacks it.

    Args:
        env: The environment, ``None`` for the process's own. Another environment without ``HOME`` has no home folder.
    """
    home = (os.environ if env is None else env).get("HOME", "")
    if home.startswith("/"):
        return Path(home)
    if env is not None:
        return None
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None
