from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument
from nexus.models.base import Model
from nexus.models.units import Duration, Size, format_duration, format_size, parse_duration, parse_size, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("90", 90),
        ("0", 0),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("1m250ms", 60.25),
        ("2d", 172800),
        ("1w", 604800),
        (" 45s ", 45),
        (45, 45),
        (0.5, 0.5),
        (timedelta(minutes=2), 120),
    ],
)
def test_a_duration_is_read(text: object, expected: float) -> None:
    assert parse_duration(text).total_seconds() == expected


@pytest.mark.parametrize(
    "text",
    ["", "m", "30 m", "1h 30m", "30x", "-5m", "1h-5m", "1e3s", "٣s", "inf", "nan", None, True, [], -1, math.inf, math.nan,
     timedelta(seconds=-1), "9" * 30 + "w", "1h\n30m", ".5h", "5.h"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))  # thirty years; beyond centuries a float of seconds is too coarse
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)

    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=8), "8d"),
        (timedelta(milliseconds=1), "1ms"),
    ],
)
def test_a_duration_is_written_short(value: timedelta, text: str) -> None:
    assert format_duration(value) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8G", 8 * 1024**3),
        ("8GiB", 8 * 1024**3),
        ("8gb", 8 * 1024**3),
        ("512MiB", 512 * 1024**2),
        ("64k", 65536),
        ("1.5T", 3 * 1024**4 // 2),
        ("1P", 1024**5),
        ("100", 100),
        ("100B", 100),
        (" 2 M ", 2 * 1024**2),
        (0, 0),
        (1048576, 1048576),
    ],
)
def test_a_size_is_read(text: object, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "G", "-1", -1, "8X", "8iB", "8i", "1e9", "8 G B", None, True, 1.5, "٣G", "8GG"])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1023), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB", "PiB"]))
def test_a_round_size_survives_being_written(count: int, unit: str) -> None:
    size = count * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].index(unit)

    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=2**60))
def test_a_written_size_is_close(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= size / 1000


@pytest.mark.parametrize("value", [0, -1, 0.0, math.inf, math.nan, timedelta(), timedelta(seconds=-1)])
def test_a_limit_is_more_than_nothing(value: float | timedelta) -> None:
    with pytest.raises(InvalidArgument, match="grace"):
        seconds(value, name="grace")


def test_a_limit_in_seconds() -> None:
    assert seconds(None) is None
    assert seconds(3) == 3.0
    assert seconds(timedelta(minutes=1)) == 60.0


def test_units_are_fields() -> None:
    class Limits(Model):
        idle: Duration
        memory: Size

    limits = Limits.model_validate({"idle": "1h30m", "memory": "8G"})

    assert limits == Limits.model_validate_json(limits.model_dump_json())
    assert limits.model_dump(mode="json") == {"idle": "1h30m", "memory": 8 * 1024**3}
    assert Limits.model_json_schema()["properties"]["memory"]["type"] == ["string", "integer"]
