"""From references to values, for as long as they are needed and in memory alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import anyio
from pydantic import SecretStr

from nexus.errors import KeychainUnavailable, SecretError, SecretNotFound
from nexus.models.secrets import EnvFile, SecretReference
from nexus.secrets import keychain
from nexus.secrets.commands import command_output
from nexus.secrets.dotenv import parse_dotenv
from nexus.secrets.files import read_bounded
from nexus.secrets.redaction import Redactor
from nexus.secrets.store import MAX_VALUE, PASSPHRASE_VARIABLE, SecretStore

REMEMBERED: Final = 300.0
"""Seconds for which what a command, the keychain or the store gave is used again: asking them is slow, and may ask their user."""
MAX_ENV_FILE: Final = 1024 * 1024
_KEYCHAIN_TIMEOUT: Final = 120.0
_SLOW: Final = frozenset({"keychain", "command", "store"})


class SecretResolver:
    """Finds the values that references name, and remembers which values it gave, so that they can be redacted.

    Args:
        environment: Where variables are looked up; commands run with it.
        store: The encrypted store.
        clock: Seconds that only grow.
    """

    def __init__(
        self, environment: Mapping[str, str], store: SecretStore, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._environment = environment
        self._store = store
        self._clock = clock
        self._turn: anyio.Lock | None = None
        self._kept: dict[SecretReference, tuple[float, SecretStr]] = {}
        self._given: set[str] = set()
        self._redactor: Redactor | None = None

    def __repr__(self) -> str:
        return f"SecretResolver({len(self._given)} values)"

    async def resolve(self, reference: SecretReference) -> SecretStr:
        """Return the value that a reference names.

        Whether it may be read is the caller's to decide, and is decided before.

        Raises:
            SecretNotFound: When what it names does not exist.
            SecretError: When that cannot be read, or its value cannot be used as it is to be delivered.
        """
        if reference.source in _SLOW:
            # One at a time, so that twenty commands that start together ask a password manager once.
            self._turn = self._turn or anyio.Lock()
            async with self._turn:
                found = self._remembered(reference)
                if found is None:
                    found = await self._find(reference)
                    self._kept[reference] = (self._clock(), found)
        else:
            found = await self._find(reference)
        _check(reference, found)
        return self._noted(found)

    async def variables(self, file: EnvFile) -> dict[str, SecretStr]:
        """Return the variables of a file; none when it does not exist.

        Raises:
            SecretError: When it cannot be read or understood; the error says where.
        """
        try:
            data = await anyio.to_thread.run_sync(
                lambda: read_bounded(file.path, inside=file.inside, limit=MAX_ENV_FILE, place=file.place)
            )
        except SecretNotFound:
            return {}
        found = parse_dotenv(data, str(file.path))
        return {name: self._noted(SecretStr(value)) for name, value in found.items()}

    def redactor(self, more: Iterable[SecretStr] = ()) -> Redactor:
        """Return a redactor of every value that was given so far.

        Args:
            more: More values.
        """
        extra = tuple(more)
        if extra:
            return Redactor((*map(SecretStr, self._given), *extra))
        if self._redactor is None:
            self._redactor = Redactor(map(SecretStr, self._given))
        return self._redactor.another()

    def note(self, values: Iterable[str]) -> None:
        """Remember values that came from elsewhere, so that they are redacted too."""
        for value in values:
            self._noted(SecretStr(value))

    def _noted(self, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text not in self._given:
            self._given.add(text)
            self._redactor = None
        return value

    def _remembered(self, reference: SecretReference) -> SecretStr | None:
        kept = self._kept.get(reference)
        return kept[1] if kept is not None and self._clock() - kept[0] < REMEMBERED else None

    async def _find(self, reference: SecretReference) -> SecretStr:
        match reference.source:
            case "env":
                return self._variable(reference)
            case "file":
                return await self._file(reference)
            case "command":
                data = await command_output(
                    reference.command,
                    name=reference.name,
                    environment={k: v for k, v in self._environment.items() if k != PASSPHRASE_VARIABLE},
                    limit=MAX_VALUE,
                    place=reference.place,
                )
                return _text(data)
            case "keychain":
                return await self._keychain(reference)
            case "store":
                try:
                    return await self._store.get(reference.key)
                except SecretNotFound as error:
                    raise _missing(reference, error.message, error.hint) from error

    def _variable(self, reference: SecretReference) -> SecretStr:
        found = self._environment.get(reference.key)
        if found is None:
            raise _missing(
                reference,
                f"the variable {reference.key} is not set",
                f"set {reference.key} in the environment that runs Nexus",
            )
        return SecretStr(found)

    async def _file(self, reference: SecretReference) -> SecretStr:
        path = reference.path
        if path is None:
            raise _missing(reference, "no file is named", "name one with 'path'")
        data = await anyio.to_thread.run_sync(
            lambda: read_bounded(path, inside=reference.inside, limit=MAX_VALUE, place=reference.place)
        )
        return _text(data)

    async def _keychain(self, reference: SecretReference) -> SecretStr:
        try:
            with anyio.fail_after(_KEYCHAIN_TIMEOUT):
                found = await anyio.to_thread.run_sync(
                    keychain.find, reference.key, reference.account, reference.name, abandon_on_cancel=True
                )
        except TimeoutError as error:
            raise KeychainUnavailable(
                f"the keychain did not answer within {_KEYCHAIN_TIMEOUT:g} s", hint="does it wait for a password?"
            ) from error
        if found is None:
            account = reference.account or reference.name
            raise _missing(
                reference,
                f"the keychain has no entry for service {reference.key!r}",
                f"keep one with: keyring set {reference.key} {account}",
            )
        return found


def _text(data: bytes) -> SecretStr:
    """Return what a file or a program gave: an editor and ``echo`` end it with a line end, which is not part of the value."""
    if data.endswith(b"\n"):
        data = data[:-2] if data.endswith(b"\r\n") else data[:-1]
    return SecretStr(data.decode("utf-8", "surrogateescape"))


def _missing(reference: SecretReference, why: str, hint: str | None) -> SecretNotFound:
    return SecretNotFound(
        f"{reference.place}: secret {reference.name} has no value: {why}",
        hint=hint,
        details={"name": reference.name, "place": reference.place},
    )


def _check(reference: SecretReference, value: SecretStr) -> None:
    text = value.get_secret_value()
    if reference.delivery == "env" and "\0" in text:
        raise SecretError(
            f"{reference.place}: the value of secret {reference.name} holds a NUL character, which no variable can",
            hint="deliver it as a file: 'as: file'",
            details={"name": reference.name, "place": reference.place},
        )
    if len(text.encode("utf-8", "surrogateescape")) > MAX_VALUE:
        raise SecretError(
            f"{reference.place}: the value of secret {reference.name} is longer than {MAX_VALUE // 1024} KiB",
            details={"name": reference.name, "place": reference.place},
        )
