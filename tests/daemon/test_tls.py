from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from anyio import to_thread
from cryptography.hazmat.primitives import serialization

from nexus.daemon.tls import renew, server_context
from nexus.errors import ConfigError
from tests.daemon.conftest import Certificate, Listening, greeting

Certify = Callable[[str], Certificate]


async def test_connections_are_encrypted(listening: Listening, certify: Certify) -> None:
    own = certify("one")
    async with (
        listening(tls=server_context(own.cert, own.key)) as echo,
        echo.connect(echo.token(), ssl=own.trusting()) as connection,
    ):
        assert await greeting(connection) == "hello ann"


async def test_old_versions_are_not_spoken(listening: Listening, certify: Certify) -> None:
    own = certify("one")
    async with listening(tls=server_context(own.cert, own.key)) as echo:
        old = own.trusting()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():  # even Python's own library warns of these
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1

        def talk() -> None:
            with echo.raw() as plain, old.wrap_socket(plain, server_hostname="localhost"):
                pass

        with pytest.raises(ssl.SSLError):
            await to_thread.run_sync(talk)


async def test_new_files_hold_for_new_connections_and_bad_ones_change_nothing(
    listening: Listening, certify: Certify, tmp_path: Path
) -> None:
    one, two = certify("one"), certify("two")
    context = server_context(one.cert, one.key)
    async with listening(tls=context) as echo, echo.connect(echo.token(), ssl=one.trusting()) as first:
        await greeting(first)
        renew(context, two.cert, two.key)
        async with echo.connect(echo.token(), ssl=two.trusting()) as second:
            assert await greeting(second) == "hello ann"
        await first.send("still here")
        assert await first.recv() == "still here"
        with pytest.raises(ConfigError):
            renew(context, one.cert, tmp_path / "missing")
        async with echo.connect(echo.token(), ssl=two.trusting()) as third:
            assert await greeting(third) == "hello ann"


def test_what_is_wrong_with_the_files_is_said(certify: Certify, tmp_path: Path) -> None:
    one, two = certify("one"), certify("two")
    noise = tmp_path / "noise"
    noise.write_text("noise")
    key = serialization.load_pem_private_key(one.key.read_bytes(), None)
    sealed = tmp_path / "sealed"
    sealed.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    cases = {
        (tmp_path / "missing", one.key): f"the certificate {tmp_path}/missing cannot be read: No such file",
        (one.cert, tmp_path): f"the private key {tmp_path} cannot be read: Is a directory",
        (one.cert, two.key): "key values mismatch",
        (noise, one.key): f"the certificate {noise} with the key",
        (one.cert, noise): f"with the key {noise} cannot be used",
        (one.cert, sealed): "the private key is encrypted",
    }
    for (cert, private), said in cases.items():
        with pytest.raises(ConfigError) as caught:
            server_context(cert, private)
        assert said in str(caught.value)
        assert "daemon.tls" in str(caught.value.hint)


def test_a_key_that_everybody_reads_is_told(certify: Certify, caplog: pytest.LogCaptureFixture) -> None:
    own = certify("one")
    own.key.chmod(0o644)
    server_context(own.cert, own.key)

    assert f"chmod 600 {own.key}" in caplog.text
    assert os.access(own.key, os.R_OK)
