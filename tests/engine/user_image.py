"""Images with a user of their own, made locally: a name, a home folder with something in it, ids that are nobody's here."""

from __future__ import annotations

import io
import tarfile

from tests.engine.raw import RawEngine

DEVELOPER = "dev"
LABEL = ("test.of", "users")
"""On every image made here, and so on whatever is made from one."""


def user_image(raw: RawEngine, base: str, *more: str, home: str = "/home/dev", name: str = "plain") -> str:
    """Return the name of an image in which ``dev`` has the ids 1000:1000 and ``~/tool``.

    Args:
        raw: The engine.
        base: What it is made from.
        more: Lines of its Dockerfile, at the end.
        home: The user's home folder.
        name: What tells it from others.
    """
    add = (
        f"echo 'dev:x:1000:1000:A developer:{home}:/bin/sh' >>/etc/passwd",
        "echo dev:x:1000: >>/etc/group",
        f"mkdir -p {home} && echo 'a tool' >{home}/tool",
        f"chmod 700 {home} && chown -R 1000:1000 {home}",
    )
    lines = [
        f"FROM {base}",
        f"LABEL {LABEL[0]}={LABEL[1]}",
        f"RUN grep -q ^dev: /etc/passwd || {{ {' && '.join(add)}; }}",
        *more,
    ]
    return _build(raw, f"nexus-test-user:{name}", "\n".join(lines))


def hostile_user_image(raw: RawEngine, base: str, *, named: str) -> str:
    """Return the name of an image that wants its user to be root: it says so where programs look, and that there is nothing to do."""
    lines = [
        f"FROM {base}",
        f"LABEL {LABEL[0]}={LABEL[1]} dev.nexus.docker.named={named} dev.nexus.docker.user=root",
        "RUN echo 'dev:x:0:0::/home/dev:/bin/sh' >/etc/passwd && mkdir -p /home/dev",
        "USER 0:0",
    ]
    return _build(raw, "nexus-test-user:hostile", "\n".join(lines))


def _build(raw: RawEngine, name: str, dockerfile: str) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile.encode()))
    raw.build_image(buffer.getvalue(), name)
    return name


def remove_derived(raw: RawEngine, repository: str) -> None:
    """Remove what was made of such images under a repository's name."""
    for image in raw.get("/images/json"):
        if (image.get("Labels") or {}).get(LABEL[0]) == LABEL[1]:
            for tag in image.get("RepoTags") or ():
                if tag.startswith(f"{repository}:"):
                    raw.call("DELETE", f"/images/{tag}?force=1")
