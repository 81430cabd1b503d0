"""The one door to the engine: opened once, version agreed once, every call with a deadline, every failure translated."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

import aiodocker
import aiohttp
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_pascal

from nexus.errors import ConfigError, ProviderError, ProviderUnavailable, WrongLoop
from nexus.providers.docker.endpoint import Endpoint, TlsFiles
from nexus.providers.docker.failures import EngineRefused, silent, unreachable

OLDEST: Final = (1, 41)
NEWEST: Final = (1, 51)
"""The versions of the API that this driver was written for: Docker 20.10 and later, Podman 4 and later."""
DEADLINE: Final = 15.0
TURNS: Final = 4
"""Calls of one kind that keep the engine busy at a time: it does much of it one after the other, and fifty that are asked for at once
would have each other miss their deadlines. By kind, so that one workspace is started while the next one's network is made."""
"""Seconds that the engine has for a call that only looks something up or changes something small."""


_BOUNDED: Final = frozenset({"btrfs", "zfs", "devicemapper"})


class Answer(BaseModel):
    """Something the engine said. Keys that are not asked for are left out, whatever version it speaks."""

    # Built on first use, as all of our models are: see nexus.models.base.
    model_config = ConfigDict(
        alias_generator=to_pascal, populate_by_name=True, frozen=True, extra="ignore", defer_build=True
    )


A = TypeVar("A", bound=Answer)


class EngineVersion(Answer):
    """What ``GET /version`` says."""

    version: str = ""
    api_version: str = "0.0"
    min_api_version: str = Field(default="0.0", alias="MinAPIVersion")


class EngineInfo(Answer):
    """What ``GET /info`` says, as far as it decides something here."""

    driver: str = ""
    ncpu: int = Field(default=0, alias="NCPU")
    security_options: tuple[str, ...] | None = None
    cgroup_version: str = "1"
    operating_system: str = ""
    experimental_build: bool = False
    driver_status: tuple[tuple[str, ...], ...] | None = None

    @property
    def limits_storage(self) -> bool:
        """Whether the storage driver can bound what one container writes; on XFS it may still lack project quotas."""
        backing = next((entry[1] for entry in self.driver_status or () if entry[:1] == ("Backing Filesystem",)), "")
        return self.driver in _BOUNDED or (self.driver == "overlay2" and backing == "xfs")

    @property
    def rootless(self) -> bool:
        """Whether root inside is an ordinary user outside."""
        return any("name=rootless" in option for option in self.security_options or ())

    @property
    def selinux(self) -> bool:
        """Whether bind mounts need a label that the host's files do not have."""
        return any("name=selinux" in option for option in self.security_options or ())


def parse(kind: type[A], raw: object) -> A:
    """Return an engine's answer as a value.

    Raises:
        ProviderError: When it has not the shape that the API promises.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as exc:
        raise ProviderError(
            f"the container engine gave an answer that cannot be understood ({kind.__name__}: {exc.errors()[0]['msg']})"
        ) from exc


def agree(version: EngineVersion) -> str:
    """Return the API version to speak with an engine, ``v1.41`` for example.

    Raises:
        ProviderUnavailable: When it is too old or too new.
    """
    newest, oldest = _numbers(version.api_version), _numbers(version.min_api_version)
    if newest < OLDEST:
        raise ProviderUnavailable(
            f"the container engine {version.version} is too old: it speaks API {version.api_version}, "
            f"and {_text(OLDEST)} is needed",
            hint="update the engine to Docker 20.10 or later",
        )
    if oldest > NEWEST:
        raise ProviderUnavailable(
            f"the container engine {version.version} is too new: it refuses API versions below {version.min_api_version}, "
            f"and this version of Nexus speaks up to {_text(NEWEST)}",
            hint="update Nexus",
        )
    return f"v{_text(min(newest, NEWEST))}"


def _numbers(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


@dataclass(frozen=True, slots=True)
class Address:
    """What a connection of one's own to the engine needs."""

    endpoint: Endpoint
    api: str
    ssl: ssl.SSLContext | None


class Engine:
    """A client of one engine, for the event loop that opened it.

    Args:
        endpoint: Where the engine is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._docker: aiodocker.Docker | None = None
        self._connector: aiohttp.BaseConnector | None = None
        self._ssl: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._agreed = False
        self._version: EngineVersion | None = None
        self._info: EngineInfo | None = None
        self._turns = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(TURNS))

    @property
    def endpoint(self) -> Endpoint:
        """Where the engine is."""
        return self._endpoint

    async def open(self) -> Self:
        """Make the client. Connects to nothing yet.

        Raises:
            ConfigError: When the certificates named for TLS cannot be used.
        """
        endpoint = self._endpoint
        # A connection per call: a fresh one costs a fraction of a millisecond, a kept one fails after the engine restarts.
        if endpoint.kind == "unix":
            self._connector = aiohttp.UnixConnector(endpoint.path, force_close=True, limit=0)
            url = "unix://localhost"
        else:
            if endpoint.tls is not None:
                self._ssl = await anyio.to_thread.run_sync(_ssl_context, endpoint.tls)
            self._connector = aiohttp.TCPConnector(
                ssl=self._ssl if self._ssl is not None else True, force_close=True, limit=0
            )
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            url = f"{'https' if endpoint.tls else 'http'}://{host}:{endpoint.port}"
        self._docker = aiodocker.Docker(url=url, connector=self._connector, api_version=f"v{_text(OLDEST)}")
        self._loop = asyncio.get_running_loop()
        return self

    async def close(self) -> None:
        """Close the client. Twice is fine."""
        docker, connector, self._docker, self._connector = self._docker, self._connector, None, None
        self._agreed = False
        self._info = None
        if docker is not None:
            await docker.close()
        if connector is not None:
            await connector.close()

    def _opened(self) -> aiodocker.Docker:
        if self._docker is None:
            raise WrongLoop("the docker provider is not open", hint="use it inside `async with`")
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoop("the docker provider was opened on another event loop", hint="open one on each loop")
        return self._docker

    async def version(self, *, deadline: float = DEADLINE) -> EngineVersion:
        """Return what the engine says of itself, asked anew."""
        docker = self._opened()
        async with (
            self._guarded("say its version", deadline),
            docker.session.get(f"{docker.docker_host}/version") as reply,
        ):
            if reply.status != 200:
                raise EngineRefused("say its version", status=reply.status, text=await reply.text())
            raw = await reply.json(content_type=None)
        self._version = parse(EngineVersion, raw)
        return self._version

    async def known_version(self, *, deadline: float = DEADLINE) -> EngineVersion:
        """Return what the engine says of itself, as it said it before where it still answers with the same version of the API.

        For its whole version an engine asks its helpers for theirs, which takes it ten milliseconds.
        """
        if self._version is None:
            return await self.version(deadline=deadline)
        docker = self._opened()
        async with self._guarded("answer", deadline), docker.session.get(f"{docker.docker_host}/_ping") as reply:
            same = reply.status == 200 and reply.headers.get("Api-Version") == self._version.api_version
        return self._version if same else await self.version(deadline=deadline)

    async def agree(self, *, deadline: float = DEADLINE) -> None:
        """Agree on a version of the API, once.

        Raises:
            ProviderUnavailable: When there is none.
        """
        docker = self._opened()
        if not self._agreed:
            docker.api_version = agree(await self.version(deadline=deadline))
            self._agreed = True

    async def info(self, *, deadline: float = DEADLINE) -> EngineInfo:
        """Return what the engine says of its host, asked once."""
        if self._info is None:
            async with self.stream("describe its host", "GET", "info", deadline=deadline) as reply:
                self._info = parse(EngineInfo, await reply.json(content_type=None))
        return self._info

    async def address(self) -> Address:
        """Return what a connection of one's own needs."""
        await self.agree()
        return Address(self._endpoint, self._opened().api_version, self._ssl)

    @asynccontextmanager
    async def door(self, doing: str, *, deadline: float = DEADLINE) -> AsyncIterator[aiodocker.Docker]:
        """Give the client for one call.

        Args:
            doing: What the call does, to follow "the engine could not …".
            deadline: Seconds for the whole call.

        Raises:
            ProviderUnavailable: When the engine is absent or does not answer in time.
            ProviderForbidden: When it refuses this user.
            EngineRefused: When it answers with an error.
        """
        await self.agree(deadline=deadline)
        docker = self._opened()
        async with self._guarded(doing, deadline):
            yield docker

    @asynccontextmanager
    async def busy_door(self, doing: str, *, deadline: float) -> AsyncIterator[aiodocker.Docker]:
        """Give the client for one call that keeps the engine busy: one of :data:`TURNS` of its kind at a time.

        Waiting for a turn does not count towards the deadline: it ends, since each of those before has a deadline of its own.

        Raises:
            ProviderUnavailable, ProviderForbidden, EngineRefused: As :meth:`door`.
        """
        async with self._turns[doing], self.door(doing, deadline=deadline) as docker:
            yield docker

    @asynccontextmanager
    async def stream(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: AsyncIterator[bytes] | bytes | None = None,
        json: Mapping[str, JsonValue] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = DEADLINE,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the raw reply to a request that the driver has no call for. ``deadline=None``: its body may take for ever.

        Raises:
            ProviderUnavailable, ProviderForbidden, EngineRefused: As :meth:`door`.
        """
        await self.agree(deadline=DEADLINE)
        docker = self._opened()
        url = f"{docker.docker_host}/{docker.api_version}/{path}"
        async with (
            self._guarded(doing, deadline),
            docker.session.request(method, url, params=params, data=data, json=json, headers=headers) as reply,
        ):
            if reply.status >= 400:
                raise EngineRefused(doing, status=reply.status, text=_message(await reply.text()))
            yield reply

    @asynccontextmanager
    async def _guarded(self, doing: str, deadline: float | None) -> AsyncIterator[None]:
        limit = asyncio.timeout(deadline)
        try:
            async with limit:
                yield
        except TimeoutError as exc:
            if not limit.expired() or deadline is None:
                raise
            raise silent(self._endpoint, doing, deadline) from exc
        except aiodocker.DockerError as exc:
            if exc.status == 900:
                raise unreachable(self._endpoint, exc) from exc
            if exc.status == 400 and "client version" in exc.message:
                self._agreed = False  # the engine was replaced by another version: agree again at the next call
            raise EngineRefused(doing, status=exc.status, text=exc.message) from exc
        except (aiohttp.ClientError, ConnectionError) as exc:
            raise unreachable(self._endpoint, exc) from exc


def _message(text: str) -> str:
    """Return the sentence in an error's body, which is JSON ``{"message": …}`` from every engine that keeps to the API."""
    try:
        return _Refusal.model_validate_json(text).message
    except ValidationError:
        return text


class _Refusal(BaseModel):
    message: str


def _ssl_context(files: TlsFiles) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=files.ca if files.verify else None)
        if not files.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if files.cert and files.key:
            context.load_cert_chain(files.cert, files.key)
    except OSError as exc:  # ssl.SSLError is one
        shown = replace(files, key=None)
        raise ConfigError(
            f"the certificates for the container engine cannot be used ({shown.ca}, {shown.cert}): {exc}",
            hint="see DOCKER_CERT_PATH, or docker context inspect",
        ) from exc
    return context
