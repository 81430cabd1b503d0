"""Results as values. What a newer daemon adds is left out, so that an older client can talk to it."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import pydantic
from pydantic import ValidationError

from nexus.errors import ProtocolError
from nexus.models.base import Model

M = TypeVar("M", bound=Model)

# Older pydantic cannot be told by the call; there only the values of the protocol itself are read leniently.
_LENIENT: Final[dict[str, Any]] = (
    {"extra": "ignore"} if tuple(map(int, pydantic.VERSION.split(".")[:2])) >= (2, 12) else {}
)


def read_result(kind: type[M], value: object) -> M:
    """Return a value that was sent.

    Raises:
        ProtocolError: When it is none.
    """
    try:
        return kind.model_validate(value, by_alias=True, by_name=False, **_LENIENT)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(
            f"the daemon's answer is no {kind.__name__}: {where}: {first['msg']}",
            hint="install the same version of Nexus on both sides",
        ) from None
