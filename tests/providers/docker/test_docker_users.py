"""The image's own user inside, with the host user's ids: by a real engine, and the decisions alone."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from nexus.errors import BuildFailed
from nexus.models.ids import new_checkpoint_id
from nexus.models.instances import LABEL_NODE
from nexus.models.mounts import VolumeMount
from nexus.providers.docker.facts import Config
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.named_user import METADATA, REPOSITORY, own_user
from nexus.providers.docker.provider import DockerProvider
from tests.engine.driving import run, sh
from tests.engine.raw import RawEngine
from tests.engine.user_image import DEVELOPER, hostile_user_image, remove_derived, user_image
from tests.providers.docker.conftest import MakeSpec

IDS = (12345, 12346)


@pytest.mark.parametrize(
    ("user", "metadata", "expected"),
    [
        ("", None, None),
        ("node", None, "node"),
        ("node:node", None, "node"),
        ("root", None, None),
        ("1000", None, None),
        ("", [{"remoteUser": "vscode"}], "vscode"),
        ("node", [{"remoteUser": "a"}, {"id": "x"}, {"remoteUser": "b", "containerUser": "c"}], "b"),
        ("node", [{"containerUser": "c"}], "c"),
        ("node", [{"remoteUser": "root"}], None),
        ("node", {"remoteUser": "vscode", "more": [1]}, "vscode"),
        ("node", [{"remoteUser": 7}], "node"),
        ("node", "[[[", "node"),
        ("", [{"remoteUser": "a b; rm -rf /"}], None),
    ],
)
def test_whose_image_it_is(user: str, metadata: JsonValue, expected: str | None) -> None:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    labels = {} if metadata is None else {METADATA: text}
    assert own_user(Config(user=user, labels=labels)) == expected


def test_metadata_that_never_ends_is_nobodys() -> None:
    assert own_user(Config(user="node", labels={METADATA: "[" * 100_000})) == "node"
    assert own_user(None) is None


@pytest.fixture
def image(engine: str, raw: RawEngine, test_image: str) -> Iterator[str]:
    name = user_image(raw, test_image)
    yield name
    remove_derived(raw, REPOSITORY)


@pytest.fixture
async def mine(engine: str) -> AsyncGenerator[DockerProvider, None]:
    """A provider whose programs have ids that are neither root's nor the image's."""
    options: dict[str, JsonValue] = {"socket": engine, "user": f"{IDS[0]}:{IDS[1]}"}
    async with DockerProvider(options, env={}) as opened:
        yield opened


@pytest.mark.docker
@pytest.mark.slow
async def test_a_named_user_has_its_home_and_our_ids_everywhere(
    mine: DockerProvider, make_spec: MakeSpec, image: str, raw: RawEngine
) -> None:
    spec = make_spec(image=image, remote_user=DEVELOPER)
    volume = VolumeMount(kind="volume", source=f"nexus-{spec.id}-data", target="/data")
    spec = spec.model_copy(update={"mounts": (*spec.mounts, volume)})
    instance = await mine.create(await mine.prepare(spec))
    await instance.start()

    script = 'id -un; id -u; id -g; echo "$HOME $USER"; cat ~/tool; echo x >~/mine; echo x >/data/mine; echo x >made; cat /proc/1/status'
    expected = ["dev", "12345", "12346", "/home/dev dev", "a tool"]
    seen: list[str] = []
    for _ in range(4):  # by the engine at first, by shells that wait from then on
        seen = (await sh(instance, script)).out.decode().splitlines()
        assert seen[:5] == expected
    assert next(line for line in seen if line.startswith("Uid:")).split()[1] == "12345"

    made = (spec.worktree / "made").stat()
    assert (made.st_uid, made.st_gid) == IDS
    described = raw.container(str(instance.ref.handle))
    assert described["Config"]["User"] == "12345:12346"
    assert described["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert isinstance(instance, DockerInstance)
    told = await instance.describe()
    assert told.image == image, "the image that was asked for is what it is made from"
    assert "USER" not in told.env
    # What was done for it is kept: a second one of the same image builds nothing.
    heard: list[str] = []

    def hear(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        heard.append(message)

    await mine.prepare(spec, progress=hear)
    assert heard == []


@pytest.mark.docker
@pytest.mark.slow
async def test_the_images_own_user_counts_when_nobody_names_one(
    mine: DockerProvider, make_spec: MakeSpec, image: str, raw: RawEngine
) -> None:
    own = user_image(raw, image, 'LABEL devcontainer.metadata=\'[{"remoteUser":"dev"}]\'', name="labelled")
    spec = await mine.prepare(make_spec(image=own))
    assert spec.remote_user == DEVELOPER
    remove_derived(raw, REPOSITORY)  # as a prune in between would: it is made again
    instance = await mine.create(spec)
    await instance.start()
    assert (await run(instance, "id", "-un")).out == b"dev\n"

    # Nobody has said that its ids may count, and its user is not known to /etc/passwd: ours alone, as before.
    ghost = user_image(raw, image, "USER ghost", name="ghost")
    assert (await mine.prepare(make_spec(image=ghost))).remote_user is None


@pytest.mark.docker
@pytest.mark.slow
async def test_ids_of_root_keep_the_name_too(
    provider: DockerProvider, make_spec: MakeSpec, image: str, engine: str
) -> None:
    async with DockerProvider({"socket": engine, "user": "0:0"}, env={}) as opened:
        instance = await opened.create(await opened.prepare(make_spec(image=image, remote_user=DEVELOPER)))
        await instance.start()
        seen = (await sh(instance, 'id -un; id -u; echo "$HOME"; : >~/x')).out.decode().split()
    assert seen == ["dev", "0", "/home/dev"]


@pytest.mark.docker
@pytest.mark.slow
async def test_ids_of_the_image_where_its_owner_has_allowed_them(make_spec: MakeSpec, image: str, engine: str) -> None:
    async with DockerProvider({"socket": engine, "user": "image"}, env={}) as opened:
        instance = await opened.create(await opened.prepare(make_spec(image=image, remote_user=DEVELOPER)))
        await instance.start()
        seen = (await sh(instance, 'id -un; id -u; echo "$HOME"')).out.decode().split()
    assert seen == ["dev", "1000", "/home/dev"]


@pytest.mark.docker
@pytest.mark.slow
async def test_a_user_that_is_not_there(mine: DockerProvider, make_spec: MakeSpec, image: str) -> None:
    with pytest.raises(BuildFailed, match="has no user 'nobody-here'") as caught:
        await mine.prepare(make_spec(image=image, remote_user="nobody-here"))
    assert "backend.docker.remote_user" in str(caught.value.hint)
    with pytest.raises(BuildFailed, match="has no user 'nobody-here'"):
        await mine.create(make_spec(image=image, remote_user="nobody-here"))


@pytest.mark.docker
@pytest.mark.slow
async def test_an_image_cannot_make_its_user_root(
    mine: DockerProvider, make_spec: MakeSpec, raw: RawEngine, test_image: str
) -> None:
    """Its ``/etc/passwd`` cannot be changed by the image's own tools, and says that the user is root; its label says all is done."""
    hostile = hostile_user_image(raw, test_image, named=f"{DEVELOPER}:{IDS[0]}:{IDS[1]}")
    instance = await mine.create(await mine.prepare(make_spec(image=hostile, remote_user=DEVELOPER)))
    await instance.start()
    for _ in range(3):
        assert (await run(instance, "id", "-u")).out == b"12345\n"
    seen = await run(instance, "cat", "/proc/self/status")
    effective = next(line for line in seen.out.decode().splitlines() if line.startswith("CapEff"))
    assert int(effective.split()[1], 16) == 0


@pytest.mark.docker
@pytest.mark.slow
async def test_a_home_that_is_the_worktrees_folder_leaves_the_tree_alone(
    mine: DockerProvider, make_spec: MakeSpec, raw: RawEngine, test_image: str, tmp_path: Path
) -> None:
    """The home folder may hold the tree by its path on the host: what is given away is the image's, never what is mounted."""
    spec = make_spec()
    (spec.worktree / "kept").write_text("kept")
    before = (spec.worktree / "kept").stat()
    image = user_image(raw, test_image, home=str(tmp_path), name="athome")
    instance = await mine.create(await mine.prepare(spec.model_copy(update={"image": image, "remote_user": DEVELOPER})))
    await instance.start()
    assert (await sh(instance, 'echo "$HOME"')).out.decode().strip() == str(tmp_path)
    after = (spec.worktree / "kept").stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


@pytest.mark.docker
@pytest.mark.slow
async def test_what_a_container_is_made_from_again_needs_nothing_more(
    mine: DockerProvider, make_spec: MakeSpec, image: str, raw: RawEngine
) -> None:
    """A checkpoint has the user behind it: a place made from one starts from the checkpoint's own image, and no other is left."""
    spec = await mine.prepare(make_spec(image=image, remote_user=DEVELOPER))
    instance = await mine.create(spec)
    await instance.start()
    await sh(instance, "echo kept >~/kept")
    await instance.stop(grace=1)
    key = new_checkpoint_id()
    place = await mine.keep_place(instance.ref, key, {LABEL_NODE: spec.node})
    try:
        again = await mine.make_from(spec, place, {})
        assert raw.container(str(again.ref.handle))["Image"] == place.image
        await again.start()
        seen = (await sh(again, 'cat ~/kept; id -un; id -u; echo "$HOME"')).out.decode().split()
        assert seen == ["kept", "dev", "12345", "/home/dev"]
    finally:
        await mine.destroy(instance.ref)
        await mine.drop_place(key)
