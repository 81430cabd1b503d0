"""Names that are loaded when they are first used, so that whoever needs one of a package's does not pay for all.

::

    if TYPE_CHECKING:
        from nexus.git.locating import find_repository
        from nexus.git.worktrees import Worktrees

    __getattr__, __dir__ = on_first_use(
        __name__, {"nexus.git.locating": ["find_repository"], "nexus.git.worktrees": ["Worktrees"]}
    )

Type checkers and readers see ordinary imports; the interpreter carries each of them out when its name is first asked for (PEP 562).
In a package no name may be that of a module of the package as well: loading the module would put it in the name's place.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType


def on_first_use(
    module: str, homes: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a module's ``__getattr__`` and ``__dir__``.

    Args:
        module: Its ``__name__``.
        homes: The names that it gives, by the module that each is imported from. As in ``from package import name``, a name may be that of
            a module in a package.
    """
    found = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> object:
        home = found.get(name)
        if home is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value: object = None if home == module else getattr(importlib.import_module(home), name, None)
        if value is None:  # the name of a module that nobody has loaded yet
            value = importlib.import_module(f"{home}.{name}")
        setattr(sys.modules[module], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[module]), *found})


def load_all(module: ModuleType) -> None:
    """Load everything that a module gives, now: a program that serves others has no first use to wait for. Blocks."""
    for name in module.__all__:
        getattr(module, name)
