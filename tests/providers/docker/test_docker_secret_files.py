"""Secrets as files: in memory or not at all, for the workspace's user alone, gone when the container stops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from nexus.errors import InvalidArgument, Unsupported, WorkspaceStopped
from nexus.models.instances import LABEL_NODE, LABEL_WORKSPACE, InstanceRef, InstanceSpec
from nexus.providers.docker import DockerProvider
from nexus.providers.docker.instance import DockerInstance
from tests.engine.driving import sh
from tests.engine.raw import RawEngine

MakeSpec = Callable[..., InstanceSpec]

pytestmark = pytest.mark.docker
VALUE = "canary \0 bytes \udcff\n"


async def test_they_are_in_memory_for_one_user_and_gone_at_the_end(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    spec = make_spec()
    instance = await provider.create(spec)
    assert isinstance(instance, DockerInstance)
    with pytest.raises(WorkspaceStopped):
        await instance.write_secrets({"A": SecretStr(VALUE)})
    await instance.start()
    await instance.write_secrets({"A": SecretStr("first"), "B": SecretStr("x" * 65536)})
    await instance.write_secrets({"A": SecretStr(VALUE)})
    assert (await sh(instance, f"cat {instance.secret_path('A')}")).out == VALUE.encode("utf-8", "surrogateescape")
    assert (await sh(instance, "wc -c </run/secrets/B")).out.strip() == b"65536"
    listed = (await sh(instance, "cd /run/secrets && ls -A && stat -c '%a %u' A . && id -u")).out.split()
    user = listed[-1]
    assert listed[:-1] == [b"A", b"B", b"400", user, b"700", user]
    number = instance.ref.handle
    assert b"canary" not in raw.call("GET", f"/containers/{number}/export")[1]
    assert (
        await sh(instance, "printf '#!/bin/sh\\n' >/run/secrets/x; chmod +x /run/secrets/x; /run/secrets/x")
    ).code == 126
    for name in ("../etc/x", "a/b", "", ".", "a b", "ü"):
        with pytest.raises(InvalidArgument):
            await instance.write_secrets({name: SecretStr(VALUE)})
    await instance.stop(grace=0.0)
    await instance.start()
    assert (await sh(instance, "ls -A /run/secrets")).out == b""


async def test_nothing_is_written_where_the_folder_is_not_in_memory(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine, test_image: str
) -> None:
    """A container that an older release made has no such mount: its folder would be a layer."""
    spec = make_spec()
    body = {
        "Image": test_image,
        "Entrypoint": ["/bin/sh", "-c", "mkdir -p /run/secrets; read -r _"],
        "OpenStdin": True,
        "Labels": {LABEL_WORKSPACE: spec.id, LABEL_NODE: spec.node},
    }
    status, made = raw.call("POST", "/containers/create", body=body)
    assert status == 201, made
    try:
        instance = await provider.attach(InstanceRef(id=spec.id, name="old", handle=made["Id"]))
        assert isinstance(instance, DockerInstance)
        await instance.start()
        with pytest.raises(Unsupported, match="has no folder in memory for secrets"):
            await instance.write_secrets({"A": SecretStr(VALUE)})
        assert (await sh(instance, "ls -A /run/secrets")).out == b""
    finally:
        await provider.destroy(InstanceRef(id=spec.id, name="old", handle=made["Id"]))
