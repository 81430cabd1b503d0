"""A keychain that several processes share, in a file that a variable names. ``PYTHON_KEYRING_BACKEND`` makes programs use it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keyring.backend

VARIABLE = "TEST_KEYCHAIN_FILE"
BACKEND = "tests.secrets.file_keychain.FileKeychain"


class FileKeychain(keyring.backend.KeyringBackend):
    """Keeps passwords in the file."""

    priority = 0.1

    def get_password(self, service: str, username: str) -> str | None:
        found: str | None = self._kept().get(f"{service}/{username}")
        return found

    def set_password(self, service: str, username: str, password: str) -> None:
        kept = {**self._kept(), f"{service}/{username}": password}
        Path(os.environ[VARIABLE]).write_text(json.dumps(kept))

    def _kept(self) -> dict[str, str]:
        path = Path(os.environ[VARIABLE])
        return dict(json.loads(path.read_text())) if path.exists() else {}
