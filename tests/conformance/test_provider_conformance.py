"""Every provider that comes with Nexus keeps every promise of ``nexus.abc.provider``: one test per case and provider."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexus.models.ids import NodeId, new_workspace_id, parse_name
from nexus.models.instances import Capability, InstanceSpec
from nexus.models.mounts import VolumeMount
from nexus.providers.local import LocalProvider
from nexus.providers.mock import MockProvider, MockWorld
from nexus.testing import PROVIDER_CASES, MakeSubject, Outcome, ProviderCase, ProviderSubject, run_provider_case
from nexus.testing.provider_suite import commands, control, inputs
from tests.engine.fixtures import TEST_IMAGE


class Trees:
    """Gives every instance a worktree of its own."""

    def __init__(self, folder: Path, image: str | None = None) -> None:
        self._folder = folder
        self._image = image
        self._count = 0

    def __call__(self) -> InstanceSpec:
        self._count += 1
        tree = self._folder / f"tree-{self._count}"
        tree.mkdir(parents=True)
        return InstanceSpec(
            id=new_workspace_id(),
            name=parse_name(f"case-{self._count}"),
            node=NodeId("conformance"),
            worktree=tree,
            workdir=str(tree),
            image=self._image,
            mounts=(VolumeMount(source=str(tree), target=str(tree)),) if self._image else (),
        )


def _mock(tmp_path: Path, request: pytest.FixtureRequest) -> MakeSubject:
    world = MockWorld()
    specs = Trees(tmp_path)

    @asynccontextmanager
    async def make() -> AsyncGenerator[ProviderSubject, None]:
        async with MockProvider(world=world) as provider:
            yield ProviderSubject(
                provider=provider, make_spec=specs, reopen=lambda: MockProvider(world=world), repeats=1000
            )

    return make


def _local(tmp_path: Path, request: pytest.FixtureRequest) -> MakeSubject:
    options = {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run")}
    # Like a login: nothing of the environment that the tests run in gets inside.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
    specs = Trees(tmp_path)

    @asynccontextmanager
    async def make() -> AsyncGenerator[ProviderSubject, None]:
        async with LocalProvider(options, env=environment) as provider:
            yield ProviderSubject(
                provider=provider,
                make_spec=specs,
                reopen=lambda: LocalProvider(options, env=environment),
                repeats=256,
            )

    return make


def _docker(
    tmp_path: Path, request: pytest.FixtureRequest, *, prepared_shells: int = 2, engine: str = "engine"
) -> MakeSubject:
    docker = pytest.importorskip("nexus.providers.docker")
    options = {"socket": request.getfixturevalue(engine), "prepared_shells": prepared_shells}
    specs = Trees(tmp_path, TEST_IMAGE if engine == "criu_engine" else request.getfixturevalue("test_image"))

    def listener(port: int) -> tuple[str, ...]:
        return ("sh", "-c", f"while :; do echo here | nc -l -p {port}; done")

    @asynccontextmanager
    async def make() -> AsyncGenerator[ProviderSubject, None]:
        async with docker.DockerProvider(options) as provider:
            yield ProviderSubject(
                provider=provider,
                make_spec=specs,
                reopen=lambda: docker.DockerProvider(options),
                listener=listener,
                repeats=256 if prepared_shells else 100,
            )

    return make


def _docker_engine(tmp_path: Path, request: pytest.FixtureRequest) -> MakeSubject:
    return _docker(tmp_path, request, prepared_shells=0)


def _docker_with_criu(tmp_path: Path, request: pytest.FixtureRequest) -> MakeSubject:
    return _docker(tmp_path, request, engine="criu_engine")


_MAKERS: Mapping[str, Callable[[Path, pytest.FixtureRequest], MakeSubject]] = {
    "mock": _mock,
    "local": _local,
    "docker": _docker,
    "docker-engine": _docker_engine,
    "docker-with-criu": _docker_with_criu,
}
_EVERYWHERE = frozenset(
    {
        Capability.HOST_TREE,
        Capability.LOGS,
        Capability.PAUSE,
        Capability.PTY,
        Capability.SIGNALS,
        Capability.STATS,
    }
)
_CLAIMS: Mapping[str, frozenset[Capability]] = {
    "mock": _EVERYWHERE | {Capability.CHECKPOINTS, Capability.HIBERNATION},
    "local": _EVERYWHERE | {Capability.SERVICES, Capability.KEEPING},
    "docker": _EVERYWHERE
    | {
        Capability.CHECKPOINTS,
        Capability.EXEC_USER,
        Capability.ISOLATION,
        Capability.PORTS,
        Capability.RESOURCE_LIMITS,
        Capability.SERVICES,
    },
}
"""What each provider has to be able to do. A case that does not apply is left out here, by name, and never at run time."""

_APPLICABLE = [
    (name, case)
    for name, claims in _CLAIMS.items()
    for case in PROVIDER_CASES
    if case.needs <= claims and not case.lacks & claims
]
_APPLICABLE += [
    # What is about commands once more without prepared shells: both ways of starting one keep the same promises.
    ("docker-engine", case)
    for name, case in _APPLICABLE
    if name == "docker" and case.run.__module__ in {commands.__name__, control.__name__, inputs.__name__}
]
_APPLICABLE += [
    # Whether processes can be kept is a matter of the engine. Where none can, these are skipped with the reason.
    ("docker-with-criu", case)
    for case in PROVIDER_CASES
    if Capability.HIBERNATION in case.needs
]


def _marks(name: str) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.docker,) if name.startswith("docker") else ()


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}-{case.name}", marks=_marks(name)) for name, case in _APPLICABLE],
)
async def test_a_promise_is_kept(name: str, case: ProviderCase, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    result = await run_provider_case(case, _MAKERS[name](tmp_path, request))

    result.raise_for_failure()
    assert result.outcome is Outcome.PASSED, f"{name} has to be able to do this: {result.reason}"


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in _CLAIMS])
async def test_a_provider_claims_what_it_should(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async with _MAKERS[name](tmp_path, request)() as subject:
        info = await subject.provider.probe()

    # An engine may have been told to keep processes; whether it can shows later.
    assert info.capabilities - ({Capability.HIBERNATION} if name == "docker" else set()) == _CLAIMS[name]


def test_every_case_applies_to_some_provider() -> None:
    proven = {case.name for _, case in _APPLICABLE}

    assert {case.name for case in PROVIDER_CASES} - proven == {"a-terminal-is-refused"}


def test_cases_have_names_and_promises_of_their_own() -> None:
    names = [case.name for case in PROVIDER_CASES]

    assert len(set(names)) == len(names)
    assert all(case.promise.endswith(".") for case in PROVIDER_CASES)
