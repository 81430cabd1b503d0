"""Every source gives its value, says precisely why it has none, and never lets it out in an error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from nexus.errors import KeychainUnavailable, SecretError, SecretNotFound
from nexus.models.secrets import EnvFile, SecretReference
from nexus.secrets import SecretResolver, SecretStore
from nexus.secrets.commands import command_output
from tests.secrets.conftest import MemoryKeychain

PLACE = "/p/config.yaml:3:5"


def resolver(tmp_path: Path, environment: Mapping[str, str] | None = None, **options: object) -> SecretResolver:
    environment = {"PATH": os.environ["PATH"], "NEXUS_SECRETS_PASSPHRASE": "p", **(environment or {})}
    store = SecretStore(tmp_path / "store.json", environment=environment)
    return SecretResolver(environment, store, **options)  # type: ignore[arg-type]


def reference(source: str, **fields: object) -> SecretReference:
    return SecretReference(name="TOKEN", source=source, place=PLACE, **fields)


async def value(one: SecretResolver, what: SecretReference) -> str:
    return (await one.resolve(what)).get_secret_value()


async def test_a_variable(tmp_path: Path) -> None:
    one = resolver(tmp_path, {"MINE": "canary-1"})
    assert await value(one, reference("env", key="MINE")) == "canary-1"
    with pytest.raises(
        SecretNotFound, match=f"{PLACE}: secret TOKEN has no value: the variable OTHER is not set"
    ) as caught:
        await one.resolve(reference("env", key="OTHER"))
    assert caught.value.hint
    assert one.redactor().redact("a canary-1 b") == "a *** b"
    assert "canary" not in repr(one)


async def test_a_file(tmp_path: Path) -> None:
    one = resolver(tmp_path)
    file = tmp_path / "token"
    for content, read in ((b"canary-2\n", "canary-2"), (b"a\r\n", "a"), (b"two\n\n", "two\n"), (b"\xff\n", "\udcff")):
        file.write_bytes(content)
        assert await value(one, reference("file", path=file)) == read
    file.write_bytes(b"x" * 65537)
    with pytest.raises(SecretError, match="larger than 64 KiB"):
        await one.resolve(reference("file", path=file))
    file.write_bytes(b"a\0b")
    assert await value(one, reference("file", path=file, delivery="file")) == "a\0b"
    with pytest.raises(SecretError, match="NUL character") as caught:
        await one.resolve(reference("file", path=file))
    assert caught.value.details["place"] == PLACE
    with pytest.raises(SecretNotFound, match=rf"{PLACE}: the file .*/none does not exist"):
        await one.resolve(reference("file", path=tmp_path / "none"))


async def test_a_projects_file_stays_in_the_project(tmp_path: Path) -> None:
    one = resolver(tmp_path)
    project, outside = tmp_path / "project", tmp_path / "outside"
    (project / "real").mkdir(parents=True)
    (project / ".git").mkdir()
    outside.mkdir()
    (outside / "key").write_text("canary-3")
    (project / "real" / "key").write_text("inside")
    (project / ".git" / "config").write_text("canary-3")
    (project / "linked").symlink_to("real")
    (project / "away").symlink_to(outside)
    (project / "key").symlink_to(outside / "key")
    (project / "up").symlink_to("../outside/key")
    (project / "git").symlink_to(".git/config")
    os.mkfifo(project / "pipe")

    def inside(name: str) -> SecretReference:
        return reference("file", path=project / name, inside=project)

    assert await value(one, inside("linked/key")) == "inside"
    for name in ("away/key", "key", "up"):
        with pytest.raises(SecretError, match="leads out of the project"):
            await one.resolve(inside(name))
    for name in ("git", ".git/config"):
        with pytest.raises(SecretError, match="git and Nexus keep their own"):
            await one.resolve(inside(name))
    for name in ("pipe", "real", "."):
        with pytest.raises(SecretError):
            await one.resolve(inside(name))
    assert one.redactor().redact("canary-3") == "canary-3"  # it was never read


async def test_a_command(tmp_path: Path) -> None:
    one = resolver(tmp_path, {"WHAT": "canary-4"})
    assert await value(one, reference("command", command=("printenv", "WHAT"))) == "canary-4"
    with pytest.raises(SecretError, match="ended with status 1"):  # what opens the store is nobody else's business
        await one.resolve(reference("command", command=("printenv", "NEXUS_SECRETS_PASSPHRASE")))
    odd = ("printf", "%s", "$(id) ; `id` *")
    assert await value(one, reference("command", command=odd)) == odd[2]
    failing = ("sh", "-c", "echo canary-4; echo canary-4 >&2; exit 3")
    for command, words in (
        (failing, "ended with status 3"),
        (("no-such-program-here",), "cannot be started"),
        (("head", "-c", "100000", "/dev/zero"), "printed more than 64 KiB"),
    ):
        with pytest.raises(SecretError, match=rf"{PLACE}: the command for secret TOKEN {words}") as caught:
            await one.resolve(reference("command", command=command))
        assert "canary" not in str(caught.value.to_json())


async def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {mark}; wait"
    options = {"name": "TOKEN", "environment": {"PATH": os.environ["PATH"]}, "limit": 10, "place": PLACE}
    with pytest.raises(SecretError, match="and was killed"):
        await command_output(("sh", "-c", script), timeout=2, **options)  # type: ignore[arg-type]
    with anyio.fail_after(60):
        while Path(f"/proc/{mark.read_text().strip()}").exists():
            state = Path(f"/proc/{mark.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                break
            await anyio.sleep(0.01)
    with anyio.move_on_after(0.3) as scope:
        await command_output(("sleep", "1000"), timeout=50, **options)  # type: ignore[arg-type]
    assert scope.cancelled_caught


async def test_slow_sources_are_asked_once_in_a_while(tmp_path: Path) -> None:
    now = [1000.0]
    one = resolver(tmp_path, clock=lambda: now[0])
    count = tmp_path / "count"
    asking = reference("command", command=("sh", "-c", f"echo x >> {count}; wc -l < {count}"))
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(one.resolve, asking)
    now[0] += 299
    assert (await value(one, asking)).strip() == "1"
    now[0] += 2
    assert (await value(one, asking)).strip() == "2"


async def test_the_keychain(tmp_path: Path, keychain: MemoryKeychain) -> None:
    one = resolver(tmp_path)
    keychain.kept = {("npm", "TOKEN"): "mine", ("npm", "bob"): "bobs", ("pypi", "alice"): "canary-5"}
    assert await value(one, reference("keychain", key="npm")) == "mine"
    assert await value(one, reference("keychain", key="npm", account="bob")) == "bobs"
    assert await value(one, reference("keychain", key="pypi")) == "canary-5"
    for missing in (reference("keychain", key="none"), reference("keychain", key="npm", account="eve")):
        with pytest.raises(SecretNotFound, match="the keychain has no entry for service") as caught:
            await one.resolve(missing)
        assert "keyring set" in (caught.value.hint or "")
    keychain.broken = True
    with pytest.raises(KeychainUnavailable, match="KeyringLocked") as locked:
        await one.resolve(reference("keychain", key="new"))
    assert "hunter2" not in str(locked.value.to_json())


@pytest.mark.usefixtures("no_keychain")
async def test_no_keychain_and_the_store(tmp_path: Path) -> None:
    one = resolver(tmp_path)
    with pytest.raises(KeychainUnavailable, match="no keychain") as caught:
        await one.resolve(reference("keychain", key="npm"))
    assert "boulder secrets set" in (caught.value.hint or "")
    with pytest.raises(SecretNotFound, match="secret TOKEN has no value: the encrypted store has no secret 'TOKEN'"):
        await one.resolve(reference("store", key="TOKEN"))
    await SecretStore(tmp_path / "store.json", environment={"NEXUS_SECRETS_PASSPHRASE": "p"}).set(
        "TOKEN", SecretStr("canary-6")
    )
    assert await value(one, reference("store", key="TOKEN")) == "canary-6"


async def test_files_of_variables(tmp_path: Path) -> None:
    one = resolver(tmp_path)
    file = tmp_path / ".env"
    assert await one.variables(EnvFile(path=file, place=PLACE)) == {}
    file.write_text("A=canary-7\n")
    found = await one.variables(EnvFile(path=file, place=PLACE))
    assert "canary" not in repr(found)
    assert found["A"].get_secret_value() == "canary-7"
    assert one.redactor([SecretStr("another")]).redact("canary-7 another") == "*** ***"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".env").symlink_to(file)
    with pytest.raises(SecretError, match="leads out of the project"):
        await one.variables(EnvFile(path=tmp_path / "project" / ".env", inside=tmp_path / "project", place=PLACE))


def test_loading_the_package_loads_no_driver() -> None:
    code = "import sys, nexus.secrets; print(*[n for n in ('keyring', 'cryptography') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
