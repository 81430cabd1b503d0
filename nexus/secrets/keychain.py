"""The system's keychain, by the keyring library, which is loaded on first use. Blocking; called on worker threads."""

# ruff: noqa: PLC0415 - keyring looks for its backends when it is loaded, and most commands need none

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import SecretStr

from nexus.errors import KeychainUnavailable

T = TypeVar("T")


def _asked(ask: Callable[[], T]) -> T:
    from keyring.errors import KeyringError, NoKeyringError

    try:
        return ask()
    except NoKeyringError as error:
        raise KeychainUnavailable(
            "this system has no keychain that could be used",
            hint="on a desktop start its keychain (GNOME Keyring, KWallet); elsewhere keep the secret with 'boulder secrets set NAME' and "
            "use 'source: store'",
        ) from error
    except (KeyringError, RuntimeError, OSError) as error:
        raise KeychainUnavailable(
            f"the keychain does not give or take anything ({type(error).__name__})",
            hint="unlock it; 'keyring --list-backends' says which one is used",
        ) from error


def find(service: str, account: str | None, otherwise: str) -> SecretStr | None:
    """Return a password of the keychain; ``None`` when there is none.

    Args:
        service: The entry's service.
        account: Whose. When ``None``, that of ``otherwise`` is taken, then whichever the keychain gives for the service.
        otherwise: The account that is looked for first when none is named.

    Raises:
        KeychainUnavailable: When there is no keychain, or it is locked.
    """
    import keyring

    def ask() -> str | None:
        found = keyring.get_password(service, account or otherwise)
        if found is None and account is None:
            credential = keyring.get_credential(service, None)
            found = credential.password if credential is not None else None
        return found

    password = _asked(ask)
    return None if password is None else SecretStr(password)


def put(service: str, account: str, value: SecretStr) -> None:
    """Write a password into the keychain.

    Raises:
        KeychainUnavailable: When there is no keychain, it is locked, or it forgets at once what it is given.
    """
    import keyring

    _asked(lambda: keyring.set_password(service, account, value.get_secret_value()))
    kept = find(service, account, account)
    if kept is None or kept.get_secret_value() != value.get_secret_value():
        raise KeychainUnavailable(
            "the keychain does not keep what it is given", hint="'keyring --list-backends' says which one is used"
        )
