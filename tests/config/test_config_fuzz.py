"""Whatever is in a file, a flag or a variable: an answer or a ``ConfigError``, nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nexus.config import ConfigStack, parse_assignment
from nexus.config.catalogue import ANY_NAME, catalogue
from nexus.config.schema import FILES, Effective
from nexus.errors import ConfigError
from tests.config.conftest import Site

LEVELS = st.sampled_from(["node", "user", "project"])
ANY_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

KEYS = sorted({name for file in (*FILES.values(), Effective) for path, _ in catalogue(file).walk() for name in path})
NAMES = st.sampled_from([*(key for key in KEYS if key != ANY_NAME), "app", "web", "podman"]) | st.text(max_size=4)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["large", "30m", "8G", "local", "env:HOME", "env:NOPE", "/x", "../x", "~/x", "file", "command"])
)
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3), max_leaves=8
    ),
    max_size=4,
)


def outcome(load: Callable[[], object]) -> ConfigError | None:
    error: ConfigError | None = None
    try:
        load()
    except ConfigError as raised:
        error = raised
    if error is not None:
        assert error.problems
        assert all(line.isprintable() for line in error.problems)
    return error


def reset(site: Site) -> None:
    for path in (site.node_path, site.user_path, site.project_path):
        path.unlink(missing_ok=True)


@ANY_FIXTURE
@given(level=LEVELS, data=st.binary(max_size=200))
@example(level="user", data=b'"\\UFFFFFFFF": 1')
@example(level="user", data=b"%YAML 9999999999.1\n---\n")
@example(level="user", data=b"a: !<x> b\n? \n")
def test_any_bytes(site: Site, level: str, data: bytes) -> None:
    reset(site)
    getattr(site, level)(data)
    outcome(site.load)


@ANY_FIXTURE
@given(level=LEVELS, text=st.text(alphabet=" \t\n-:?[]{},&*!|>'\"%@#abc01<~.é", max_size=60))
def test_anything_that_looks_like_yaml(site: Site, level: str, text: str) -> None:
    reset(site)
    getattr(site, level)(text)
    outcome(site.load)


@ANY_FIXTURE
@given(level=LEVELS, document=DOCUMENTS)
def test_any_values_under_real_keys(site: Site, level: str, document: dict[str, object]) -> None:
    reset(site)
    getattr(site, level)(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    error = outcome(site.load)
    if error is None:
        stack = site.load()
        json.dumps(stack.to_json())
        stack.settings.model_dump_json()
        for path, _ in catalogue(Effective).walk():
            if ANY_NAME not in path:
                str(stack.explain(".".join(path)))


@ANY_FIXTURE
@given(document=DOCUMENTS, level=LEVELS)
def test_validate_tells_at_least_what_load_raises(site: Site, level: str, document: dict[str, object]) -> None:
    reset(site)
    getattr(site, level)(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    raised = outcome(site.load)
    found = ConfigStack.validate(site.root, env={"HOME": str(site.home)}, node_file=site.node_path)
    told = {str(problem) for problem in found if problem.severity == "error"}
    assert all(line.isprintable() for line in told)
    assert set(raised.problems if raised is not None else ()) <= told


@ANY_FIXTURE
@given(flags=DOCUMENTS)
def test_any_flags(site: Site, flags: dict[str, object]) -> None:
    reset(site)
    outcome(lambda: site.load(flags=flags))  # type: ignore[arg-type]


@ANY_FIXTURE
@given(
    name=st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "NEXUS_" + "__".join(names).upper()),
    value=st.text(max_size=20),
)
def test_any_variable(site: Site, name: str, value: str) -> None:
    reset(site)
    outcome(lambda: site.load(env={name: value}))


@given(st.text(max_size=40))
def test_any_assignment(text: str) -> None:
    outcome(lambda: parse_assignment(text))


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_example_file(site: Site, fixtures: Path, seed: int) -> None:
    chance = random.Random(seed)
    for level in ("node", "user", "project"):
        data = bytearray((fixtures / f"{level}.yaml").read_bytes())
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randrange(1, 40)]
                case 2:
                    data[at:at] = chance.choice(
                        [b"\n", b"\t", b": ", b"- ", b"{", b"*a ", b"&a ", b"!x ", b'"', b"\x00"]
                    )
                case _:
                    data = data[:at] + data[at // 2 : at] + data[at:]
        getattr(site, level)(bytes(data))
    outcome(site.load)
