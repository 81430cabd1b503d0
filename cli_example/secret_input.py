"""Where secret words come from: a terminal that does not show them, a pipe, or a file. Never a command's arguments."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from pydantic import SecretStr

from nexus.errors import InvalidArgument

_MOST = 1 << 20


def read_value(name: str, file: Path | None) -> SecretStr:
    """Return a secret's value: a file's content, what a pipe gives, or what is typed. One line end at its end is dropped.

    Args:
        name: The secret's name, for the prompt.
        file: The file, when one was named.
    """
    if file is None and _on_terminal(0):
        return SecretStr(getpass.getpass(f"Value of {name} (not shown): "))
    try:
        with file.open("rb") if file is not None else os.fdopen(os.dup(0), "rb") as source:
            data = source.read(_MOST)
    except OSError as error:
        raise InvalidArgument(
            f"the value cannot be read: {error.strerror}", hint="name a file that you may read"
        ) from error
    text = data.decode("utf-8", "surrogateescape")
    return SecretStr(text.removesuffix("\n").removesuffix("\r"))


def ask_passphrase(new: bool) -> SecretStr | None:
    """Ask on the terminal for the passphrase of the encrypted store, twice for a new one; ``None`` where there is none to ask on."""
    if not (_on_terminal(0) and _on_terminal(2)):
        return None
    while True:
        first = getpass.getpass(
            "New passphrase of the encrypted store: " if new else "Passphrase of the encrypted store: "
        )
        if not new or first == getpass.getpass("Once more: "):
            return SecretStr(first)
        sys.stderr.write("these two differ; try again\n")


def _on_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
