"""The encrypted store: secrets of one user, in one file of that user's, for any project to refer to by name."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
from filelock import FileLock, Timeout
from pydantic import SecretStr

from nexus.errors import Busy, InvalidArgument, KeychainUnavailable, SecretError, SecretNotFound, SecretsLocked
from nexus.models.secrets import StoredSecret
from nexus.secrets import keychain
from nexus.secrets.sealing import Unsealable, derive_key, new_key, new_salt, seal, unseal
from nexus.secrets.store_file import (
    Entry,
    KeychainKey,
    PassphraseKey,
    StoreContent,
    damaged,
    read_store,
    write_store,
)

PASSPHRASE_VARIABLE: Final = "NEXUS_SECRETS_PASSPHRASE"  # noqa: S105 - a name
MAX_VALUE: Final = 64 * 1024
"""Bytes that a secret may have at most."""
_SERVICE: Final = "nexus-secrets"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_LOCK_TIMEOUT: Final = 30.0

AskPassphrase = Callable[[bool], SecretStr | None]
"""Asks the user for the passphrase; told whether it is a new one. Called on a worker thread, so it may block. ``None``: no answer."""


class SecretStore:
    """Secrets encrypted at rest.

    Each value is encrypted on its own (AES-256-GCM). The key is in the system's keychain; where there is none it is derived from a
    passphrase, which comes from ``NEXUS_SECRETS_PASSPHRASE`` or from ``ask``. Names are not encrypted. Several processes may use one
    store at once. Nothing is read before a method is called, and nothing is bound to an event loop.

    Args:
        path: The file; ``secrets.json`` in the user's data folder when ``None``.
        environment: In place of the process's own: ``HOME``, ``XDG_DATA_HOME`` and ``NEXUS_SECRETS_PASSPHRASE`` are read.
        ask: Asked for the passphrase where the environment has none.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        ask: AskPassphrase | None = None,
    ) -> None:
        given = os.environ if environment is None else environment
        self._path = path if path is not None else default_path(given)
        passphrase = given.get(PASSPHRASE_VARIABLE, "")
        self._passphrase = SecretStr(passphrase) if passphrase else None
        self._ask = ask
        self._keys: dict[str, bytes] = {}

    @property
    def path(self) -> Path:
        """The file. It need not exist."""
        return self._path

    def __repr__(self) -> str:
        return f"SecretStore({str(self._path)!r})"

    async def names(self) -> tuple[StoredSecret, ...]:
        """Return what is kept, by name. Needs no key.

        Raises:
            SecretStoreDamaged: When the file cannot be understood.
        """
        content = await anyio.to_thread.run_sync(read_store, self._path)
        entries = content.entries if content is not None else {}
        return tuple(StoredSecret(name=name, changed=entries[name].changed) for name in sorted(entries))

    async def get(self, name: str) -> SecretStr:
        """Return a value.

        Raises:
            SecretNotFound: When none has this name.
            SecretsLocked: When there is no key, or a wrong passphrase.
            SecretStoreDamaged: When the file cannot be understood, or the value was changed by somebody else.
        """
        return await anyio.to_thread.run_sync(self._get, name, abandon_on_cancel=True)

    async def set(self, name: str, value: SecretStr) -> None:
        """Keep a value; one of the same name is replaced.

        Args:
            name: Letters, digits, ``_``, ``.`` and ``-``.
            value: At most 64 KiB.

        Raises:
            InvalidArgument: When the name or the value cannot be used.
            SecretsLocked: When there is no key, or a wrong passphrase.
            SecretStoreDamaged: When the file that is there cannot be understood; it is left as it is.
            Busy: When another process holds the store for half a minute.

        Cancellation: the value is kept, or it is not.
        """
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name!r} cannot be the name of a secret",
                hint="use letters, digits, '_', '.' and '-', such as NPM_TOKEN",
            )
        data = value.get_secret_value().encode("utf-8", "surrogateescape")
        if not data or len(data) > MAX_VALUE:
            what = "empty" if not data else f"longer than {MAX_VALUE // 1024} KiB"
            raise InvalidArgument(
                f"the value of secret {name} is {what}", hint="is it the right file, or the right pipe?"
            )
        await anyio.to_thread.run_sync(self._set, name, data)

    async def remove(self, name: str) -> None:
        """Forget a value. Needs no key.

        Raises:
            SecretNotFound: When none has this name.
            SecretStoreDamaged: When the file cannot be understood.
        """
        await anyio.to_thread.run_sync(self._remove, name)

    # On worker threads ----------------------------------------------------------------------------------------------

    def _get(self, name: str) -> SecretStr:
        content = read_store(self._path)
        if content is None or name not in content.entries:
            raise self._unknown(name)
        key = self._key(content)
        try:
            data = unseal(key, content.id, name, content.entries[name].sealed)
        except Unsealable:
            raise damaged(self._path, f"the entry {name!r} was changed by something else than Nexus") from None
        return SecretStr(data.decode("utf-8", "surrogateescape"))

    def _set(self, name: str, data: bytes) -> None:
        with self._locked():
            content = read_store(self._path)
            if content is None:
                content, key = self._begin()
            else:
                key = self._key(content)
            entry = Entry(sealed=seal(key, content.id, name, data), changed=datetime.now(UTC))
            write_store(self._path, content.model_copy(update={"entries": {**content.entries, name: entry}}))

    def _remove(self, name: str) -> None:
        with self._locked():
            content = read_store(self._path)
            if content is None or name not in content.entries:
                raise self._unknown(name)
            left = {other: entry for other, entry in content.entries.items() if other != name}
            write_store(self._path, content.model_copy(update={"entries": left}))

    def _unknown(self, name: str) -> SecretNotFound:
        return SecretNotFound(
            f"the encrypted store has no secret {name!r}",
            hint=f"'boulder secrets set {name}' keeps one; 'boulder secrets list' names those there are",
            details={"name": name},
        )

    def _locked(self) -> AbstractContextManager[object]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self._path.with_name(f"{self._path.name}.lock"), timeout=_LOCK_TIMEOUT, mode=0o600)
            return lock.acquire()
        except Timeout as error:
            raise Busy(f"another process is changing the encrypted store {self._path}", hint="try again") from error
        except OSError as error:
            raise SecretError(
                f"the folder of the encrypted store cannot be used: {error.strerror} ({self._path.parent})",
                details={"path": str(self._path.parent)},
            ) from error

    def _begin(self) -> tuple[StoreContent, bytes]:
        """Return an empty store and its key: in the keychain, else from a passphrase."""
        number, key = secrets.token_hex(8), new_key()
        source: KeychainKey | PassphraseKey = KeychainKey()
        try:
            keychain.put(_SERVICE, number, SecretStr(key.hex()))
        except KeychainUnavailable as why:
            passphrase = self._passphrase_or_ask(new=True, why=why)
            source = PassphraseKey(salt=new_salt().hex())
            key = _derived(source, passphrase)
        self._keys[number] = key
        return StoreContent(id=number, key=source, check=seal(key, number, "", b"")), key

    def _key(self, content: StoreContent) -> bytes:
        known = self._keys.get(content.id)
        key = known if known is not None else self._find_key(content)
        try:
            unseal(key, content.id, "", content.check)
        except Unsealable:
            if isinstance(content.key, PassphraseKey):
                raise SecretsLocked(
                    f"this is not the passphrase of the encrypted store {self._path}",
                    hint=f"the one in {PASSPHRASE_VARIABLE} counts before any that is typed",
                ) from None
            raise damaged(self._path, "its key in the keychain does not fit") from None
        self._keys[content.id] = key
        return key

    def _find_key(self, content: StoreContent) -> bytes:
        if isinstance(content.key, PassphraseKey):
            return _derived(content.key, self._passphrase_or_ask(new=False, why=None))
        kept = keychain.find(_SERVICE, content.id, content.id)
        if kept is None:
            raise SecretsLocked(
                f"the key of the encrypted store {self._path} is not in this keychain",
                hint="use the keychain that it was made with, or move the file away and set the secrets again",
            )
        try:
            return bytes.fromhex(kept.get_secret_value())
        except ValueError:
            raise damaged(self._path, "its key in the keychain is none") from None

    def _passphrase_or_ask(self, *, new: bool, why: KeychainUnavailable | None) -> str:
        given = self._passphrase
        if given is None and self._ask is not None:
            given = self._ask(new)
        if given is None or not given.get_secret_value():
            reason = f"{why.message}, so " if why is not None else ""
            raise SecretsLocked(
                f"{reason}the encrypted store {self._path} needs a passphrase",
                hint=f"set {PASSPHRASE_VARIABLE}, or run the command on a terminal, which asks",
            ) from why
        return given.get_secret_value()


def default_path(environment: Mapping[str, str]) -> Path:
    """Return where a user's store is: below ``XDG_DATA_HOME``, else ``~/.local/share``."""
    data = environment.get("XDG_DATA_HOME", "")
    if data.startswith("/"):  # the XDG specification says that a relative one is to be ignored
        return Path(data) / "nexus" / "secrets.json"
    home = environment.get("HOME", "")
    base = Path(home) if home.startswith("/") else Path.home()
    return base / ".local" / "share" / "nexus" / "secrets.json"


def _derived(key: PassphraseKey, passphrase: str) -> bytes:
    return derive_key(passphrase, bytes.fromhex(key.salt), n=key.n, r=key.r, p=key.p)
