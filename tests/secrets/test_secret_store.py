"""The encrypted store: what it keeps it gives back to whoever has the key, and to nobody else; what it cannot read it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from nexus.errors import (
    InvalidArgument,
    KeychainUnavailable,
    NexusError,
    SecretError,
    SecretNotFound,
    SecretsLocked,
    SecretStoreDamaged,
)
from nexus.secrets import SecretStore
from tests.secrets.conftest import MemoryKeychain

VALUE = "canary-3f9 väl\nue"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "nexus" / "secrets.json"


def locked_by(path: Path, passphrase: str | None) -> SecretStore:
    return SecretStore(path, environment={"NEXUS_SECRETS_PASSPHRASE": passphrase} if passphrase else {})


async def refused(store: SecretStore, kind: type[NexusError]) -> str:
    """Reading and writing are both refused, and the file stays as it is."""
    before = store.path.read_bytes()
    with pytest.raises(kind) as caught:
        await store.get("A")
    with pytest.raises(kind):
        await store.set("B", SecretStr("more"))
    assert store.path.read_bytes() == before
    assert "canary" not in f"{caught.value.to_json()} {caught.value!r}"
    return caught.value.message


async def test_with_a_keychain_nothing_is_asked(path: Path, keychain: MemoryKeychain) -> None:
    store = SecretStore(path, environment={})
    assert await store.names() == ()
    with pytest.raises(SecretNotFound, match="no secret 'A'"):
        await store.get("A")
    assert not path.exists()
    await store.set("A", SecretStr(VALUE))
    await store.set("B.c-d", SecretStr("second"))
    await store.set("A", SecretStr(VALUE + "!"))
    again = SecretStore(path, environment={})
    assert (await again.get("A")).get_secret_value() == VALUE + "!"
    assert [entry.name for entry in await again.names()] == ["A", "B.c-d"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert b"canary" not in path.read_bytes()
    await again.remove("A")
    with pytest.raises(SecretNotFound):
        await again.remove("A")
    assert [entry.name for entry in await store.names()] == ["B.c-d"]
    assert [file.name for file in path.parent.iterdir() if file.name.endswith(".tmp")] == []

    keychain.kept.clear()
    with pytest.raises(SecretsLocked, match="is not in this keychain"):
        await SecretStore(path, environment={}).get("B.c-d")
    number = json.loads(path.read_text())["id"]
    keychain.kept["nexus-secrets", number] = "00" * 32
    with pytest.raises(SecretStoreDamaged, match="does not fit"):
        await SecretStore(path, environment={}).get("B.c-d")
    keychain.broken = True
    with pytest.raises(KeychainUnavailable) as caught:
        await SecretStore(path, environment={}).get("B.c-d")
    assert "hunter2" not in caught.value.message


@pytest.mark.usefixtures("no_keychain")
async def test_without_a_keychain_a_passphrase_is_the_key(path: Path) -> None:
    with pytest.raises(
        SecretsLocked, match=r"no keychain that could be used, so the encrypted store .* needs a passphrase"
    ):
        await locked_by(path, None).set("A", SecretStr(VALUE))
    assert not path.exists()
    asked: list[bool] = []

    def ask(new: bool) -> SecretStr:
        asked.append(new)
        return SecretStr("correct horse")

    store = SecretStore(path, environment={}, ask=ask)
    await store.set("A", SecretStr(VALUE))
    assert (await store.get("A")).get_secret_value() == VALUE
    assert asked == [True]
    assert (await SecretStore(path, environment={}, ask=ask).get("A")).get_secret_value() == VALUE
    assert asked == [True, False]
    assert (await locked_by(path, "correct horse").get("A")).get_secret_value() == VALUE
    assert "is not the passphrase" in await refused(locked_by(path, "wrong"), SecretsLocked)
    assert "needs a passphrase" in await refused(locked_by(path, None), SecretsLocked)
    assert [entry.name for entry in await locked_by(path, None).names()] == ["A"]
    await locked_by(path, None).remove("A")
    assert "correct horse" not in repr(store)


@pytest.mark.usefixtures("no_keychain")
async def test_a_damaged_file_is_said_and_never_overwritten(path: Path) -> None:
    await locked_by(path, "p").set("A", SecretStr(VALUE))
    good = path.read_text()
    content = json.loads(good)
    sealed = content["entries"]["A"]["sealed"]
    flipped = ("A" if sealed[20] != "A" else "B").join((sealed[:20], sealed[21:]))
    swapped = {**content, "entries": {"A": {**content["entries"]["A"], "sealed": content["check"]}}}
    for text in (
        good[: len(good) // 2],
        "",
        "[]",
        good.replace('"version": 1', '"version": 2'),
        good.replace('"n": 32768', '"n": 1073741824'),
    ):
        path.write_text(text)
        said = await refused(locked_by(path, "p"), SecretStoreDamaged)
        assert str(path) in said
        assert ("newer release" in said) is ('"version": 2' in text)
    for entries in (good.replace(sealed, flipped), json.dumps(swapped)):
        path.write_text(entries)
        with pytest.raises(SecretStoreDamaged, match="'A' was changed"):
            await locked_by(path, "p").get("A")


@pytest.mark.usefixtures("no_keychain")
async def test_what_is_not_its_own_file_is_not_followed(path: Path, tmp_path: Path) -> None:
    store = locked_by(path, "p")
    await store.set("A", SecretStr(VALUE))
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "symbolic link" in await refused(store, SecretStoreDamaged)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SecretStoreDamaged, match="not an ordinary file"):
        await store.get("A")


@pytest.mark.usefixtures("no_keychain")
async def test_what_cannot_be_kept(path: Path, tmp_path: Path) -> None:
    store = locked_by(path, "p")
    for name in ("", "a b", "../x", "-x", "ü", "x" * 200):
        with pytest.raises(InvalidArgument, match="cannot be the name"):
            await store.set(name, SecretStr(VALUE))
    for value in ("", "x" * 65537):
        with pytest.raises(InvalidArgument, match="the value of secret A is"):
            await store.set("A", SecretStr(value))
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretError, match="the folder of the encrypted store cannot be used"):
        await locked_by(tmp_path / "file" / "x.json", "p").set("A", SecretStr(VALUE))


@pytest.mark.usefixtures("no_keychain")
async def test_two_processes_lose_nothing_of_each_other(path: Path) -> None:
    """Each reads, adds and replaces the whole file; together all names are there."""
    await locked_by(path, "p").set("A", SecretStr("first"))
    code = (
        "import sys, anyio, keyring, keyring.backends.fail\n"
        "from pathlib import Path\nfrom pydantic import SecretStr\nfrom nexus.secrets import SecretStore\n"
        "keyring.set_keyring(keyring.backends.fail.Keyring())\n"
        "async def main():\n"
        "    store = SecretStore(Path(sys.argv[1]), environment={'NEXUS_SECRETS_PASSPHRASE': 'p'})\n"
        "    for n in range(8):\n        await store.set(f'{sys.argv[2]}{n}', SecretStr('value'))\n"
        "anyio.run(main)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(path), name], cwd=Path(__file__).parents[2]) for name in "BC"
    ]
    assert [one.wait(50) for one in both] == [0, 0]
    kept = [entry.name for entry in await locked_by(path, None).names()]
    assert kept == sorted(["A", *(f"{letter}{n}" for letter in "BC" for n in range(8))])
