from __future__ import annotations

import string
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexus.errors import InvalidName
from nexus.models.ids import (
    MAX_NAME_LENGTH,
    RESERVED_NAMES,
    new_exec_id,
    new_workspace_id,
    parse_name,
    slugify,
)

VALID = st.from_regex(r"\A[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z").filter(
    lambda text: len(text) <= MAX_NAME_LENGTH and text not in RESERVED_NAMES
)


@given(VALID)
def test_a_valid_name_is_taken_as_it_is(name: str) -> None:
    assert parse_name(name) == name
    assert slugify(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "Feature",
        "1st",
        "-a",
        "a-",
        "a--b",
        "a_b",
        "a.b",
        "a/b",
        "a b",
        " a",
        "a\n",
        "a\0",
        "ä",
        "\N{FULLWIDTH LATIN SMALL LETTER A}",
        "a٣",
        "x" * 49,
        *sorted(RESERVED_NAMES),
    ],
)
def test_what_breaks_the_rule_is_refused_with_a_name_that_works(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        parse_name(text)

    assert caught.value.hint is not None
    assert repr(slugify(text)) in caught.value.hint
    assert parse_name(slugify(text))


def test_the_longest_name_is_48_characters() -> None:
    assert parse_name("x" * 48) == "x" * 48


@given(st.text())
@example("feature/auth")
@example("current")
@example("\ud800")
@example("x" * 49)
@example("a" * 39 + "-b")
@example("İ" * 60)
def test_a_slug_is_always_a_name(text: str) -> None:
    slug = slugify(text)

    assert parse_name(slug) == slug
    assert slugify(slug) == slug
    assert slugify(text) == slug


@given(
    st.text(alphabet=string.ascii_letters + "/-_ .", max_size=12),
    st.text(alphabet=string.ascii_letters + "/-_ .", max_size=12),
)
@example("feature/auth", "feature-auth")
@example("A", "a")
@example("x/y", "x_y")
def test_two_texts_never_share_a_slug(one: str, two: str) -> None:
    assert (slugify(one) == slugify(two)) == (one == two)


@given(st.text(min_size=200, max_size=400))
def test_every_label_built_from_a_slug_fits_dns(text: str) -> None:
    assert len(f"nexus-{slugify(text)}-12345678") <= 63


def test_a_slug_keeps_the_words() -> None:
    assert slugify("Feature/Log in!").startswith("feature-log-in-")
    assert slugify("42").startswith("ws-42-")
    assert slugify("日本").startswith("ws-")


def test_ids_are_fresh() -> None:
    ids = {new_workspace_id() for _ in range(100)} | {new_exec_id() for _ in range(100)}

    assert len(ids) == 200
    assert uuid.UUID(new_workspace_id()).version == 4
    assert new_exec_id().startswith("ex_")
