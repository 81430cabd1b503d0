"""What can be done here and now, as far as that is known without asking anybody."""

from __future__ import annotations

import importlib.util
from functools import cache

from nexus.models.features import Features
from nexus.models.files import WatchMode
from nexus.workspace.context import Context
from nexus.workspace.inotify import Inotify


def features_of(context: Context) -> Features:
    """Return it. Blocks for as long as looking at what is installed takes, once in a process."""
    return Features(
        backends={name: context.backends.known_capabilities(name) for name in context.backends.names()},
        search=_search(),
        watch=_watch(),
    )


@cache
def _search() -> bool:
    return importlib.util.find_spec("re2") is not None


def _watch() -> WatchMode:
    try:
        Inotify().close()
    except OSError:  # this user has used up what the kernel gives
        return WatchMode.POLL
    return WatchMode.NATIVE
