"""The keys about what is never lost: which ignored files count, and how long a destroyed workspace is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nexus.errors import ConfigError
from tests.config.conftest import Site


def test_nothing_is_precious_and_two_weeks_are_kept_unless_somebody_says_so(site: Site) -> None:
    settings = site.load().settings
    assert (settings.precious, settings.keep_destroyed) == ((), timedelta(days=14))


def test_a_project_adds_to_what_its_user_named(site: Site) -> None:
    site.user("defaults: {precious: [.env, notes/**]}\n")
    site.project("defaults: {precious: [secrets/, .env]}\n")
    assert site.load().settings.precious == (".env", "notes/**", "secrets/")
    assert site.load(flags={"defaults.precious": ["only"]}).settings.precious == ("only",)


def test_a_project_cannot_take_away_what_its_user_named(site: Site) -> None:
    site.user("defaults: {precious: [.env]}\n")
    site.project("defaults: {precious: null}\n")
    assert site.load().settings.precious == (".env",)


def test_a_user_can_take_away_what_the_node_named(site: Site) -> None:
    site.node("defaults: {precious: [.env]}\n")
    site.user("defaults: {precious: null, keep_destroyed: null}\n")
    assert (site.load().settings.precious, site.load().settings.keep_destroyed) == ((), None)


def test_a_project_cannot_say_how_long_work_is_kept(site: Site) -> None:
    site.project("defaults: {keep_destroyed: 1s}\n")
    with pytest.raises(ConfigError, match="how long your work is kept"):
        site.load()
