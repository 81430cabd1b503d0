"""The kinds of single value that sections are made of, and the short forms of their maps."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from nexus.models.ports import PortNumber
from nexus.models.resources import RESOURCE_CLASSES, Cores
from nexus.models.units import Duration, Size

_SMALLEST_POOL = 64
"""Room for four workspaces."""


def _matching(pattern: str, what: str) -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(what)
        return text

    return AfterValidator(check)


def _number(value: object) -> object:
    # To pydantic and to Python `true` is 1; to whoever wrote `cpu: true` it is a mistake.
    if isinstance(value, bool):
        msg = "must be a number, not true or false"
        raise ValueError(msg)  # noqa: TRY004 - only a ValueError becomes a validation error
    return value


def _positive_duration(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        msg = "must be longer than zero; write null for no limit"
        raise ValueError(msg)
    return value


def _network(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        msg = f"must be an IPv4 network such as 10.213.0.0/16: {error}"
        raise ValueError(msg) from None
    if not network.is_private or network.num_addresses < _SMALLEST_POOL:
        msg = f"must be a private IPv4 network of at least {_SMALLEST_POOL} addresses, such as 10.213.0.0/16"
        raise ValueError(msg)
    return text


def short_form(name: str, *others: str) -> Callable[[object], object]:
    """Make the short form ``4`` mean ``{name: 4}``, with what it does not say set to nothing."""

    def expand(value: object) -> object:
        if value is None or isinstance(value, Mapping):
            return value
        return {name: value, **dict.fromkeys(others)}

    return expand


def class_numbers(value: object) -> object:
    """Make the name of a class mean its numbers, with every limit set to nothing."""
    if not isinstance(value, str):
        return value
    for name, allocation in RESOURCE_CLASSES.items():
        if value == name:
            return allocation.model_dump()
    msg = f"{value[:40]!r} is not a resource class: write {', '.join(RESOURCE_CLASSES)}, or cpu, memory and storage"
    raise ValueError(msg)


Text = Annotated[str, Field(min_length=1, max_length=4096)]
SinglePort = Annotated[PortNumber, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
CoreCount = Annotated[Cores, BeforeValidator(_number)]
PositiveSize = Annotated[Size, Field(gt=0)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive_duration)]
Network = Annotated[str, AfterValidator(_network)]
NetworkName = Annotated[
    str, _matching(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}", "must be the start of a network's name: letters, digits, '_.-'")
]
ContainerUser = Annotated[
    str, _matching(r"host|image|[0-9]{1,10}:[0-9]{1,10}", "must be 'host', 'image' or numbers such as '1000:1000'")
]


def _not_root(text: str) -> str:
    if text == "root":
        msg = (
            "cannot be root: a clone would write into your tree as root; whoever may decide that says "
            "'backends.docker.user: image' in the user's own file"
        )
        raise ValueError(msg)
    return text


InsideUser = Annotated[
    str,
    _matching(
        r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "must be the name of a user of the image, such as vscode, and no number"
    ),
    AfterValidator(_not_root),
]
BackendName = Annotated[
    str, _matching(r"[a-z][a-z0-9_-]{0,62}", "must be a backend's name: lower-case letters, digits, '-' and '_'")
]
PortName = Annotated[
    str, _matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "must be a service's name: letters, digits, '-' and '_'")
]
VariableName = Annotated[
    str,
    _matching(r"[A-Za-z_][A-Za-z0-9_]{0,254}", "must be a variable's name: letters, digits and '_', no digit first"),
]
FilePattern = Annotated[str, Field(max_length=1024), _matching(r"[^\0\n\r]+", "must be one pattern, on one line")]
EntryName = Annotated[str, Field(min_length=1, max_length=255)]
EnvValue = Annotated[str, Field(max_length=131_072, description="Its text, or a reference `env:NAME`.")]
"""The value of an environment variable, or a reference ``env:NAME``. Linux takes at most 128 KiB."""
