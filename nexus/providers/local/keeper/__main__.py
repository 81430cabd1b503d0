"""The keeper's start: ``python -I -S -X utf8 …/keeper/__main__.py <workspace> <folder> <socket> <descriptor>``.

Run by path, so that neither site packages nor the rest of nexus are loaded: it is there in some 30 ms and stays small.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
from types import ModuleType
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_KEEPER: Final = os.path.abspath(__file__).rpartition("/")[0]  # noqa: PTH100 - pathlib costs the keeper 5 ms


def _mount() -> None:
    """Make the packages above this one known as bare folders: their own code needs what is not here."""
    folder = _KEEPER
    for name in ("nexus.providers.local", "nexus.providers", "nexus"):
        folder = folder.rpartition("/")[0]
        module = ModuleType(name)
        module.__path__ = [folder]
        sys.modules[name] = module


def _detach() -> None:
    """Become a process of nobody's but init's, and the parent of every orphan below."""
    if os.fork():
        os._exit(0)
    os.setsid()
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _is_awaited(ready: int) -> bool:
    """Whether whoever started this still waits for the word. One that died meanwhile is recovered from as if this were not there."""
    poll = select.poll()
    poll.register(ready, 0)
    return not poll.poll(0)


def main(folder: str, path: str, ready: int) -> None:
    """Serve one workspace; ``ready`` is told once, in one word or in the reason why not."""
    told = False

    def tell(word: str) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(ready, word.encode("utf-8", "replace"))
            os.close(ready)

    try:
        _detach()
        _mount()
        from nexus.providers.local.keeper.service import Keeper  # noqa: PLC0415 - found only once the packages are mounted

        os.set_inheritable(ready, False)
        if not _is_awaited(ready):
            return
        Keeper(folder, path).run(lambda: tell("ready"))
    except OSError as error:
        tell(str(error))
        raise


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3], int(sys.argv[4]))
