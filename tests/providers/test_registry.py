from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, EntryPoint, PathDistribution
from pathlib import Path

import pytest
from pydantic import JsonValue

from nexus.abc import Provider
from nexus.errors import AlreadyExists, ConfigError, InvalidArgument, ProviderError, ProviderNotFound
from nexus.providers.mock import MockProvider
from nexus.providers.registry import ProviderRegistry, load_provider, provider_names


def installed(folder: Path, points: Mapping[str, str], *, name: str = "acme-nexus") -> list[EntryPoint]:
    """The entry points of a distribution that is really there, as an installer leaves it."""
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = "\n".join(f"{key} = {value}" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[nexus.providers]\n{lines}\n")
    distribution: Distribution = PathDistribution(info)
    return list(distribution.entry_points)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules can be imported."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def registry(points: list[EntryPoint]) -> ProviderRegistry:
    return ProviderRegistry(discover=lambda: points)


def test_built_in_providers_need_no_installation() -> None:
    empty = registry([])

    assert empty.names() == ("docker", "local", "mock")
    assert isinstance(empty.load("mock"), MockProvider)


def test_the_module_functions_see_what_comes_with_nexus() -> None:
    assert {"docker", "local", "mock"} <= set(provider_names())
    assert load_provider("mock", {"latency": "1ms"}).name == "mock"


def test_nothing_is_read_or_imported_before_it_is_needed() -> None:
    asked: list[str] = []

    def discover() -> list[EntryPoint]:
        asked.append("entry points")
        return []

    made = ProviderRegistry(discover=discover)
    made.load("mock")
    assert asked == []

    made.names()
    made.names()
    assert asked == ["entry points"]


def test_options_reach_the_factory() -> None:
    seen: list[Mapping[str, JsonValue]] = []

    def factory(options: Mapping[str, JsonValue]) -> Provider:
        seen.append(options)
        return MockProvider()

    made = registry([])
    made.register("mine", factory)
    made.load("mine", {"size": 3})
    made.load("mine")

    assert seen == [{"size": 3}, {}]


def test_every_load_gives_a_provider_of_its_own() -> None:
    made = registry([])

    assert made.load("mock") is not made.load("mock")


def test_a_distribution_adds_a_provider(tmp_path: Path, modules: Path) -> None:
    (modules / "acme_plugin.py").write_text(
        "from nexus.providers.mock import MockProvider\nclass Acme(MockProvider):\n    name = 'acme'\n"
    )
    made = registry(installed(tmp_path, {"acme": "acme_plugin:Acme"}))

    assert made.names() == ("acme", "docker", "local", "mock")
    assert "acme_plugin" not in sys.modules
    assert made.load("acme").name == "acme"


def test_a_distribution_cannot_take_over_a_name_of_ours(tmp_path: Path, modules: Path) -> None:
    (modules / "hijack_plugin.py").write_text("raise SystemExit('imported')\n")
    made = registry(installed(tmp_path, {"mock": "hijack_plugin:Mock", "docker": "hijack_plugin:Mock"}))

    assert type(made.load("mock")) is MockProvider
    assert "hijack_plugin" not in sys.modules


def test_a_program_can_replace_any_provider() -> None:
    special = MockProvider()
    made = registry([])

    with pytest.raises(AlreadyExists, match="mock"):
        made.register("mock", lambda _options: special)
    made.register("mock", lambda _options: special, replace=True)

    assert made.load("mock") is special


def test_registries_share_nothing() -> None:
    one, two = registry([]), registry([])

    one.register("mine", lambda _options: MockProvider())

    assert "mine" in one.names()
    assert "mine" not in two.names()


@pytest.mark.parametrize("name", ["", "Mine", "1st", "a b", "a/b", "a-", "ä"])
def test_names_follow_a_rule(name: str) -> None:
    with pytest.raises(InvalidArgument):
        registry([]).register(name, lambda _options: MockProvider())


def test_an_unknown_name_suggests_and_lists() -> None:
    with pytest.raises(ProviderNotFound, match="dokcer") as caught:
        registry([]).load("dokcer")

    assert caught.value.hint == "perhaps you meant 'docker'; there are: docker, local, mock"


def test_a_name_like_no_other_only_lists() -> None:
    with pytest.raises(ProviderNotFound) as caught:
        registry([]).load("zzz")

    assert caught.value.hint == "there are: docker, local, mock"


@pytest.mark.parametrize("name", ["sprite", "kubernetes"])
def test_a_planned_backend_says_so(name: str) -> None:
    with pytest.raises(ProviderNotFound, match=f"no driver for the {name} backend yet"):
        registry([]).load(name)


def test_a_planned_backend_may_come_from_a_distribution(tmp_path: Path, modules: Path) -> None:
    (modules / "sprite_plugin.py").write_text("from nexus.providers.mock import MockProvider as Sprite\n")

    assert registry(installed(tmp_path, {"sprite": "sprite_plugin:Sprite"})).load("sprite").name == "mock"


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [name for name in sys.modules if name.startswith(("nexus.providers.docker", "aiodocker"))]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "aiodocker", None)

    with pytest.raises(ProviderNotFound, match="aiodocker") as caught:
        registry([]).load("docker")

    assert caught.value.hint == 'pip install "nexus-workspace[docker]"'


def test_a_plugin_that_cannot_be_imported_is_named(tmp_path: Path, modules: Path) -> None:
    (modules / "broken_plugin.py").write_text("1 / 0\n")
    made = registry(installed(tmp_path, {"broken": "broken_plugin:Broken"}))

    with pytest.raises(
        ProviderError, match=r"'broken' of acme-nexus 1\.2 cannot be imported: ZeroDivisionError"
    ) as caught:
        made.load("broken")

    assert caught.value.hint == "repair or uninstall acme-nexus 1.2"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_plugin_that_is_not_there_is_named(tmp_path: Path) -> None:
    made = registry(installed(tmp_path, {"absent": "no_such_module_here:Thing"}))

    with pytest.raises(ProviderError, match="acme-nexus"):
        made.load("absent")


def test_a_plugin_that_is_no_factory_is_named(tmp_path: Path, modules: Path) -> None:
    (modules / "number_plugin.py").write_text("THING = 7\n")

    with pytest.raises(ProviderError, match=r"acme-nexus 1\.2 is a int"):
        registry(installed(tmp_path, {"number": "number_plugin:THING"})).load("number")


def test_a_factory_that_makes_something_else_is_named(tmp_path: Path, modules: Path) -> None:
    (modules / "wrong_plugin.py").write_text("def make(options):\n    return []\n")

    with pytest.raises(ProviderError, match=r"acme-nexus 1\.2\) made a list"):
        registry(installed(tmp_path, {"wrong": "wrong_plugin:make"})).load("wrong")


def test_a_factory_that_fails_is_named(tmp_path: Path, modules: Path) -> None:
    (modules / "failing_plugin.py").write_text("def make(options):\n    raise KeyError('token')\n")

    with pytest.raises(ProviderError, match=r"acme-nexus 1\.2\) could not be made: KeyError"):
        registry(installed(tmp_path, {"failing": "failing_plugin:make"})).load("failing")


def test_two_distributions_with_one_name_are_an_error(tmp_path: Path) -> None:
    points = [
        *installed(tmp_path / "a", {"twin": "a:A"}, name="first"),
        *installed(tmp_path / "b", {"twin": "b:B"}, name="second"),
    ]

    with pytest.raises(ProviderError, match=r"first 1\.2, second 1\.2"):
        registry(points).load("twin")


def test_errors_of_a_provider_about_its_options_go_through() -> None:
    def factory(options: Mapping[str, JsonValue]) -> Provider:
        raise ConfigError(f"cannot use {sorted(options)}")

    made = registry([])
    made.register("strict", factory)

    with pytest.raises(ConfigError, match="size"):
        made.load("strict", {"size": 1})
