"""Secrets: where their values come from, how they are kept encrypted, and how they are kept out of everything else.

::

    store = SecretStore()                                   # the user's own, encrypted at rest
    await store.set("NPM_TOKEN", SecretStr("…"))            # `source: store` in a configuration file refers to it
    log = Redactor([SecretStr("…")])                        # masks values in whatever is kept or shown
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.models.secrets import StoredSecret
    from nexus.secrets.redaction import Redactor
    from nexus.secrets.resolver import SecretResolver
    from nexus.secrets.store import PASSPHRASE_VARIABLE, AskPassphrase, SecretStore

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.secrets.redaction": ["Redactor"],
        "nexus.secrets.resolver": ["SecretResolver"],
        "nexus.models.secrets": ["StoredSecret"],
        "nexus.secrets.store": ["PASSPHRASE_VARIABLE", "AskPassphrase", "SecretStore"],
    },
)

__all__ = ["PASSPHRASE_VARIABLE", "AskPassphrase", "Redactor", "SecretResolver", "SecretStore", "StoredSecret"]
