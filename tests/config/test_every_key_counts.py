"""The three files of the architecture, word for word: every key in them changes what happens, or something says why not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import JsonValue

from nexus.config import ConfigStack
from nexus.config.dormant import BECAUSE, DORMANT
from nexus.config.schema import FILES
from nexus.errors import ConfigError
from tests.config.conftest import Site

FOLDER = Path(__file__).parent / "fixtures"
FILE_LEVELS = {"node": "node", "user": "user", "project": "project", "multi-user": "node"}
REMEMBERED = {
    "preferences.telemetry.enabled": "is remembered; this version records and sends nothing",
    "preferences.telemetry.share_friction_data": "is remembered; this version records and sends nothing",
}


def place(site: Site, name: str, text: str) -> None:
    site.root = site.home / "projects" / "hanlun-lms"
    (site.root / ".git").mkdir(parents=True, exist_ok=True)
    for path in (site.node_path, site.user_path, site.project_path):
        path.unlink(missing_ok=True)
    getattr(site, FILE_LEVELS[name])(text)


def branches(value: JsonValue, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from branches(below, (*path, name))
    else:
        yield path, value


def changed(document: JsonValue, path: tuple[str, ...]) -> JsonValue:
    """The document with one value turned into another."""
    if not path:
        match document:
            case bool():
                return not document
            case int():
                return document + 1
            case str():
                return f"{document[:-1]}{'y' if document[-1:] == 'x' else 'x'}"
            case list():
                return [changed(item, ()) for item in document]
            case _:
                raise AssertionError(document)
    assert isinstance(document, dict)
    return {name: changed(below, path[1:]) if name == path[0] else below for name, below in document.items()}


def outcome(site: Site) -> tuple[object, ...]:
    try:
        stack = site.load(env={"SPRITE_API_KEY": "k"})
    except ConfigError as error:
        return ("refused", *error.problems)
    said = tuple(line.split(": ", 1)[1] for line in stack.warnings)
    return (stack.settings.model_dump_json(), said)


KEYS = [
    pytest.param(name, path, id=f"{name}-{'.'.join(path)}")
    for name in FILE_LEVELS
    for path, _ in branches(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))
]


@pytest.mark.parametrize(("name", "path"), KEYS)
def test_every_key_changes_what_happens_or_is_said_not_to(site: Site, name: str, path: tuple[str, ...]) -> None:
    document = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    place(site, name, yaml.safe_dump(document, sort_keys=False))
    before = outcome(site)
    assert before[0] != "refused", before
    if any(path[: len(dormant)] == dormant for dormant in DORMANT):
        said = next(".".join(dormant) for dormant in DORMANT if path[: len(dormant)] == dormant)
        assert f"'{said}' " in str(before[-1])
        return
    place(site, name, yaml.safe_dump(changed(document, path), sort_keys=False))
    assert outcome(site) != before


@pytest.mark.parametrize("name", FILE_LEVELS)
def test_no_warning_that_is_not_deserved(site: Site, name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    place(site, name, text)
    written = yaml.safe_load(text)
    expected = {
        f"'{'.'.join(path)}' {BECAUSE.get(path, 'is accepted but not acted on yet')}"
        for path in DORMANT
        if _has(written, path)
    }
    expected |= {f"'{key}' {reason}" for key, reason in REMEMBERED.items() if _has(written, tuple(key.split(".")))}
    if name == "user":  # alone it prefers a backend whose key is in no variable here
        expected |= {
            "'backends.sprite.api_key' refers to the variable SPRITE_API_KEY, which is not set",
            "secret 'GITHUB_TOKEN' refers to the variable GITHUB_TOKEN, which is not set",
            *(f"the file of variables '{site.home}/{path}' does not exist" for path in (".env", ".nexus/secrets.env")),
        }
    if name == "project":  # nobody has made its file or allowed it anything here
        expected |= {
            f"secret 'DATABASE_PASSWORD' refers to the file '{site.root}/.nexus/secrets/db-password.txt', which does not exist",
            "secret 'STRIPE_SECRET_KEY' comes from 'HANLUN_STRIPE_KEY', which you have not allowed this project to read",
        }
    assert {line.split(": ", 1)[1] for line in site.load().warnings} == expected


def test_all_three_together_are_valid(site: Site) -> None:
    site.root = site.home / "projects" / "hanlun-lms"
    for name, target in (("node", site.node_path), ("user", site.user_path), ("project", site.project_path)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / f"{name}.yaml", target)
    env = {"HOME": str(site.home), "SPRITE_API_KEY": "k"}
    found = ConfigStack.validate(site.root, env=env, node_file=site.node_path)
    assert [str(problem) for problem in found if problem.severity == "error"] == []
    for level in FILES:
        alone = ConfigStack.validate(site.root, level=level, env=env, node_file=site.node_path)
        assert {problem.severity for problem in alone} <= {"warning"}
    settings = site.load(env=env).settings
    assert (settings.daemon.host, settings.daemon.port) == ("0.0.0.0", 8080)
    assert settings.daemon.tls is not None
    assert settings.daemon.tls.key == Path("/etc/nexus/certs/server.key")
    assert settings.private_folders


def _has(document: JsonValue, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True
