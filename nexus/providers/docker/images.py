"""Having the image: on the engine already, pulled with progress, or built from a Dockerfile."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import anyio.to_thread
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from nexus.abc import ProgressCallback
from nexus.errors import BuildFailed, ImageNotFound, InvalidArgument, ProviderError, ProviderUnavailable
from nexus.providers.docker.build_context import BuildSource, open_source, pack
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.facts import Image
from nexus.providers.docker.failures import EngineRefused, pull_failure

BUILD_REPOSITORY: Final = "nexus-build"
_REFERENCE: Final = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?|sha256:[0-9a-f]{64}|[0-9a-f]{12,64}",
    re.ASCII,
)
_LOG_LINES: Final = 40
_PIECE: Final = 256 * 1024
_LABELS: Final = TypeAdapter(dict[str, str], config=ConfigDict(defer_build=True))


class _Detail(Answer):
    current: int | None = Field(default=None, alias="current")
    total: int | None = Field(default=None, alias="total")


class _Line(Answer):
    """One line of the engine's report on a pull or a build."""

    id: str = Field(default="", alias="id")
    status: str = Field(default="", alias="status")
    stream: str = Field(default="", alias="stream")
    error: str = Field(default="", alias="error")
    detail: _Detail | None = Field(default=None, alias="progressDetail")


def check_reference(image: str) -> str:
    """Return an image's name when it is one. It becomes part of a path in the engine's API, so nothing else may pass.

    Raises:
        InvalidArgument: When it is not.
    """
    if len(image) > 512 or not _REFERENCE.fullmatch(image):
        raise InvalidArgument(
            f"{image!r} is not the name of an image", hint="for example python:3.12 or ghcr.io/me/app:main"
        )
    return image


async def find_image(engine: Engine, image: str) -> Image | None:
    """Return the image; ``None`` when the engine does not have it."""
    try:
        async with engine.stream("look at an image", "GET", f"images/{check_reference(image)}/json") as reply:
            return parse(Image, await reply.json(content_type=None))
    except EngineRefused as exc:
        if exc.status == 404:
            return None
        raise


async def has_image(engine: Engine, image: str) -> bool:
    """Return whether the engine has the image."""
    return await find_image(engine, image) is not None


@dataclass(slots=True)
class PullProgress:
    """Adds up what a pull reports of its layers."""

    layers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, layer: str, current: int | None, total: int | None) -> tuple[int, int]:
        """Take one report in, and return bytes done and bytes in all of the layers known so far."""
        if layer and current is not None and total:
            self.layers[layer] = (min(current, total), total)
        return sum(done for done, _ in self.layers.values()), sum(total for _, total in self.layers.values())


async def ensure_image(engine: Engine, image: str, *, deadline: float, progress: ProgressCallback | None) -> Image:
    """Have the image on the engine, pulled when it is not, and return it.

    Raises:
        InvalidArgument: When the name is none.
        ImageNotFound: When it is neither here nor in its registry.
        ImagePullFailed: When it could not be fetched within ``deadline`` seconds.
    """
    there = await find_image(engine, image)
    if there is not None:
        return there
    tell = progress if progress is not None else _nobody
    tell("image", f"pulling {image}")
    name, tag = _split(image)
    params = {"fromImage": name, **({"tag": tag} if tag else {})}
    sums = PullProgress()
    try:
        async with engine.stream("pull", "POST", "images/create", params=params, deadline=deadline) as reply:
            async for line in _lines(reply.content.iter_any()):
                if line.error:
                    raise pull_failure(image, line.error)
                detail = line.detail if line.detail is not None else _Detail()
                if line.status == "Downloading":
                    done, total = sums.add(line.id, detail.current, detail.total)
                    tell("image", f"pulling {image}", done, total)
    except EngineRefused as exc:
        raise pull_failure(image, exc.text) from exc
    except ProviderUnavailable as exc:
        raise pull_failure(image, exc.message) from exc
    # A connection that broke ends the report like a finished pull does.
    there = await find_image(engine, image)
    if there is None:
        raise pull_failure(image, "the pull ended early")
    tell("image", f"pulled {image}")
    return there


def _split(image: str) -> tuple[str, str]:
    """Return name and tag; without a tag the engine would pull every one of them."""
    if "@" in image:
        return image, ""
    head, colon, tag = image.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (image, "latest")


async def _lines(content: AsyncIterator[bytes]) -> AsyncIterator[_Line]:
    """Give the lines of a report. Cut here, because a line may be longer than the client's own reader allows."""
    held = b""
    async for piece in content:
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield _read_line(line)
    if held.strip():
        yield _read_line(held)


def _read_line(line: bytes) -> _Line:
    try:
        return _Line.model_validate_json(line)
    except ValidationError as exc:
        raise ProviderError("the container engine's report cannot be understood") from exc


async def ensure_build(
    engine: Engine,
    dockerfile: Path,
    context: Path | None,
    *,
    labels: Mapping[str, str],
    deadline: float,
    progress: ProgressCallback | None,
    args: Mapping[str, str] | None = None,
    target: str | None = None,
    withheld: Sequence[Path] = (),
) -> str:
    """Have the image of a Dockerfile on the engine, and return its name. The same content is built once.

    Args:
        engine: The engine.
        dockerfile: The file.
        context: The folder that the build sees; the file's own when absent.
        labels: Given to the image.
        deadline: Seconds that the build may take.
        progress: Told of its steps.
        args: Build arguments.
        target: The stage to stop at.
        withheld: Files and folders that the build never sees.

    Raises:
        BuildFailed: When it cannot be built; ``details["log_tail"]`` holds the end of the log.
    """
    tell = progress if progress is not None else _nobody
    source = await anyio.to_thread.run_sync(open_source, dockerfile, context, withheld)
    tell("image", "reading the build context")
    wish = {"buildargs": _LABELS.dump_json(dict(args or {})).decode(), **({"target": target} if target else {})}
    image = _build_name(await anyio.to_thread.run_sync(pack, source, None), args, target)
    if await has_image(engine, image):
        return image
    # Read again into a file: should anything have changed meanwhile, the name is that of what is really sent.
    archive = await anyio.to_thread.run_sync(tempfile.TemporaryFile)
    try:
        image = _build_name(await anyio.to_thread.run_sync(pack, source, archive), args, target)
        await _build(engine, source, archive, image, labels=labels, deadline=deadline, tell=tell, wish=wish)
    finally:
        archive.close()
    if not await has_image(engine, image):
        raise BuildFailed(f"the build of {dockerfile} ended without an image")
    return image


def _build_name(content: str, args: Mapping[str, str] | None, target: str | None) -> str:
    """Return the name of the image that this content, these arguments and this stage come to."""
    if args or target:
        asked = json.dumps([content, sorted((args or {}).items()), target])
        content = hashlib.sha256(asked.encode()).hexdigest()[: len(content)]
    return f"{BUILD_REPOSITORY}:{content}"


async def _build(
    engine: Engine,
    source: BuildSource,
    archive: BinaryIO,
    image: str,
    *,
    labels: Mapping[str, str],
    deadline: float,
    tell: ProgressCallback,
    wish: Mapping[str, str],
) -> None:
    title = source.context / source.dockerfile
    tell("image", f"building {title}")
    await send_build(
        engine,
        _pieces(archive),
        image,
        title=str(title),
        hint=f"see the log's end in details, or run docker build {title.parent}",
        params={**wish, "dockerfile": source.dockerfile},
        labels=labels,
        deadline=deadline,
        tell=tell,
    )


async def send_build(
    engine: Engine,
    archive: bytes | AsyncIterator[bytes],
    image: str,
    *,
    title: str,
    hint: str,
    params: Mapping[str, str],
    labels: Mapping[str, str],
    deadline: float,
    tell: ProgressCallback | None = None,
) -> None:
    """Have the engine build what an archive holds.

    Args:
        engine: The engine.
        archive: The context, as a tar archive.
        image: The name of what is built.
        title: What is built, for reports and errors.
        hint: What to do when it cannot be.
        params: More for the engine.
        labels: Given to the image.
        deadline: Seconds that the build may take.
        tell: Told of its steps.

    Raises:
        BuildFailed: When it cannot be built; ``details["log_tail"]`` holds the end of the log.
    """
    told = tell if tell is not None else _nobody
    log: deque[str] = deque(maxlen=_LOG_LINES)
    try:
        async with engine.stream(
            "build an image",
            "POST",
            "build",
            params={**params, "t": image, "rm": "1", "forcerm": "1", "labels": _labels_json(labels)},
            data=archive,
            headers={"Content-Type": "application/x-tar"},
            deadline=deadline,
        ) as reply:
            async for line in _lines(reply.content.iter_any()):
                text = (line.stream or line.status).rstrip()
                if text:
                    log.extend(text.splitlines())
                    if text.startswith("Step "):
                        told("image", text.splitlines()[0], *_step(text))
                if line.error:
                    raise _failed(title, hint, line.error, log)
    except EngineRefused as exc:
        raise _failed(title, hint, exc.text, log) from exc


def _labels_json(labels: Mapping[str, str]) -> str:
    return _LABELS.dump_json(dict(labels)).decode()


_STEP: Final = re.compile(r"Step (\d+)/(\d+)")


def _step(text: str) -> tuple[int | None, int | None]:
    match = _STEP.match(text)
    return (int(match[1]), int(match[2])) if match else (None, None)


def _failed(title: str, hint: str, text: str, log: deque[str]) -> BuildFailed:
    return BuildFailed(
        f"{title} could not be built: {text.strip()}", hint=hint, details={"log_tail": [*log], "dockerfile": title}
    )


async def _pieces(archive: BinaryIO) -> AsyncIterator[bytes]:
    await anyio.to_thread.run_sync(archive.seek, 0)
    while piece := await anyio.to_thread.run_sync(archive.read, _PIECE):
        yield piece


def missing(image: str) -> ImageNotFound:
    """Return the error for an image that is not on the engine when it is needed."""
    return ImageNotFound(
        f"image {image} is not on this engine",
        hint=f"docker pull {image}, docker build -t {image} …, or set defaults.image to an image you have",
        details={"image": image},
    )


def _nobody(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
    """Take a report that nobody asked for."""
