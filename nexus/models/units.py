"""Durations and sizes as people write them: ``30m``, ``1h30m``, ``8G``, ``512MiB``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from nexus.errors import InvalidArgument

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART: Final = r"(\d+(?:\.\d+)?)(ms|[smhdw])"
_SIZE: Final = r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)(B?)"
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_duration(value: object) -> timedelta:
    """Return a duration from a number of seconds, a timedelta, or text such as ``90``, ``30m``, ``1h30m``, ``250ms``.

    Raises:
        InvalidArgument: When the text is no duration, or the duration is negative or not finite.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # An integer may be too large for a float; that is no duration either.
        seconds = float(value) if abs(value) <= timedelta.max.total_seconds() else math.inf
    elif isinstance(value, str):
        seconds = _duration_seconds(value.strip())
    else:
        raise InvalidArgument(f"{value!r} is not a duration", hint="write for example 30m, 1h30m or 45s")
    if not math.isfinite(seconds) or seconds < 0 or seconds >= timedelta.max.total_seconds():
        raise InvalidArgument(f"{value!r} is not a duration: it must be finite and not negative")
    return timedelta(seconds=seconds)


def _duration_seconds(text: str) -> float:
    if re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII):
        return float(text)
    parts = re.findall(_DURATION_PART, text, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(f"{text!r} is not a duration", hint="write for example 30m, 1h30m or 45s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def format_duration(value: timedelta) -> str:
    """Return the shortest text that :func:`parse_duration` reads back as ``value`` (to the millisecond)."""
    milliseconds = round(value.total_seconds() * 1000)
    if milliseconds == 0:
        return "0s"
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, round(_SECONDS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_size(value: object) -> int:
    """Return a number of bytes from an integer or text such as ``8G``, ``512MiB``, ``1.5T``, ``64k``.

    Every unit is a power of 1024, with or without ``i`` and ``B``: this is what container engines and the JVM mean by
    ``8G``, and a memory limit that is 7 % smaller than asked helps nobody.

    Raises:
        InvalidArgument: When the text is no size or is negative.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise InvalidArgument(f"{value!r} is not a size: it must not be negative")
        return value
    match = re.fullmatch(_SIZE, value.strip(), re.ASCII | re.IGNORECASE) if isinstance(value, str) else None
    if match is None or (match[3] and not match[2]):
        raise InvalidArgument(f"{value!r} is not a size", hint="write for example 8G, 512MiB or 1048576")
    factor: int = 1024 ** _POWERS[match[2].upper()]
    size = float(match[1]) * factor
    if not math.isfinite(size):
        raise InvalidArgument(f"{match[0][:40]!r}… is not a size: it is too large")
    return round(size)


def format_size(size: int) -> str:
    """Return ``size`` bytes in the largest binary unit that keeps it readable, for example ``8GiB`` or ``1.5MiB``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            return f"{amount:.4g}{unit}"
        amount /= 1024
    return f"{amount:.4g}PiB"


def seconds(value: float | timedelta | None, *, name: str = "timeout") -> float | None:
    """Return a time limit in seconds; ``None`` means no limit.

    Raises:
        InvalidArgument: When the limit is zero, negative or not finite: ``0`` means "now" to some tools and "never" to others.
    """
    if value is None:
        return None
    limit = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not math.isfinite(limit) or limit <= 0:
        raise InvalidArgument(f"{name} must be greater than zero, or None for no limit; got {value!r}")
    return limit


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30m", "1h30m"]}),
]
"""A duration as a pydantic field."""

Size = Annotated[
    int, BeforeValidator(parse_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["8G", "512MiB"]})
]
"""A size in bytes as a pydantic field."""
