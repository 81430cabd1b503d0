"""How values are encrypted: AES-256-GCM, a fresh nonce each, bound to the store and to the name it stands under. Pure."""

# ruff: noqa: PLC0415 - cryptography is large, and most commands need none of it

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Final

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Unsealable(Exception):
    """The key is another one, or the text was changed."""


def new_key() -> bytes:
    """Return a random key."""
    return os.urandom(KEY_BYTES)


def new_salt() -> bytes:
    """Return a random salt."""
    return os.urandom(16)


def derive_key(passphrase: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    """Return the key that a passphrase stands for (scrypt, RFC 7914). Takes a tenth of a second and some memory on purpose."""
    data = passphrase.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=KEY_BYTES)


def seal(key: bytes, store: str, name: str, value: bytes) -> str:
    """Return a value encrypted, as text.

    Args:
        key: The key.
        store: The store's id.
        name: What the value stands under.
        value: The value.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, value, _bound(store, name))).decode("ascii")


def unseal(key: bytes, store: str, name: str, text: str) -> bytes:
    """Return what was encrypted.

    Raises:
        Unsealable: When the key, the store or the name is another one, or the text was changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        data = base64.b64decode(text, validate=True)
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound(store, name))
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise Unsealable from error


def _bound(store: str, name: str) -> bytes:
    return f"nexus-secrets/1/{store}/{name}".encode()
