"""The daemon's log: one line for each thing that happened, in a file that only its user reads and that never grows for ever."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from typing_extensions import override

from nexus.daemon.private_file import own_folder
from nexus.state.files import FILE_MODE, translated

LOGGER: Final = "nexus"
# The beginning of every JSON Web Token, and of what a browser makes of it.
_TOKEN: Final = re.compile(r"(?:eyJ|ZXlK)[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}")
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class _File(RotatingFileHandler):
    """Opens its files for their owner alone, and follows no link."""

    @override
    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, _FLAGS, FILE_MODE)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


class OneLine(logging.Formatter):
    """Makes one line of a record: the time in UTC, its weight, the text; nothing that a terminal would act on, and no token."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = super().format(record)
        return f"{time} {record.levelname.lower()} {_TOKEN.sub('<token>', _escaped(text))}"


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class DaemonLog:
    """Where the records of all of Nexus go while a daemon runs. Made by :func:`logging_to`."""

    def __init__(self, handler: RotatingFileHandler) -> None:
        self._handler = handler

    def resize(self, size: int, files: int) -> None:
        """Begin a new file at another size, and keep another number of old ones.

        Args:
            size: Bytes.
            files: How many.
        """
        self._handler.maxBytes, self._handler.backupCount = size, files


@contextmanager
def logging_to(path: Path, *, size: int, files: int, also_to_stderr: bool = False) -> Iterator[DaemonLog]:
    """Log to a file for the block. Its folder is made when it is missing.

    Args:
        path: The file. Older ones are beside it, as ``<name>.1`` and so on.
        size: Bytes at which it is put aside.
        files: How many older ones are kept; at least one.
        also_to_stderr: Whether it is shown as well.

    Raises:
        StateError: When the file cannot be opened, or others may enter its folder.
    """
    with own_folder(path.parent.parent, path.parent.name, create=True), translated("open the log", path):
        file = _File(path, maxBytes=size, backupCount=files, delay=False, encoding="utf-8")
    handlers: list[logging.Handler] = [file, *([logging.StreamHandler()] if also_to_stderr else [])]
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(OneLine())
        logger.addHandler(handler)
    try:
        yield DaemonLog(file)
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
