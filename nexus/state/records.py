"""A workspace's record as bytes, and back. Pure: every way in which bytes can be wrong ends in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Never

from pydantic import TypeAdapter, ValidationError

from nexus.errors import InvalidName
from nexus.models.ids import parse_name
from nexus.models.workspace import RECORD_SCHEMA, WorkspaceRecord
from nexus.state.migrations import MIGRATIONS, Document, Step, UnknownSchema, migrate

MAX_RECORD_BYTES: Final = 1024 * 1024
_DOCUMENT: Final[TypeAdapter[Document]] = TypeAdapter(Document)
_SHOWN_PROBLEMS: Final = 3


class UnreadableRecord(Exception):
    """The bytes are no record; the text says why, in one sentence that starts with "it"."""


def encode_record(record: WorkspaceRecord) -> bytes:
    """Return the record as readable JSON.

    Raises:
        ValueError: When it holds text that has no UTF-8 form (a path of other bytes) or is larger than a record may be.
    """
    data = record.model_dump_json(indent=2).encode() + b"\n"
    if len(data) > MAX_RECORD_BYTES:
        msg = f"the record has {len(data)} bytes, more than the {MAX_RECORD_BYTES} that are allowed"
        raise ValueError(msg)
    return data


def decode_record(stem: str, data: bytes, steps: Mapping[int, Step] = MIGRATIONS) -> WorkspaceRecord:
    """Return the record that ``data`` holds.

    Args:
        stem: The file's name without ``.json``: the name the record must carry.
        data: The file's content.
        steps: Migrations for records of an older schema.

    Raises:
        UnreadableRecord: When there is none in it.
    """
    if b"Infinity" in data or b"NaN" in data:
        _document(data)  # pydantic takes them for numbers, and would write them back as null
    try:
        record = WorkspaceRecord.model_validate_json(data, strict=True)
    except ValidationError:
        record = _decode_slowly(data, steps)
    else:
        if record.schema_version != RECORD_SCHEMA or "schema_version" not in record.model_fields_set:
            record = _decode_slowly(data, steps)
    if record.name != stem:
        raise UnreadableRecord(f"it is the record of {record.name!r}, not of {stem!r}")
    return record


def _decode_slowly(data: bytes, steps: Mapping[int, Step]) -> WorkspaceRecord:
    """Read an older schema, or find the best words for what is wrong."""
    document = _document(data)
    try:
        current = migrate(document, steps=steps)
        # Through JSON once more: strict validation of Python objects would refuse text where a path or a date is meant.
        return WorkspaceRecord.model_validate_json(_DOCUMENT.dump_json(current), strict=True)
    except UnknownSchema as error:
        raise UnreadableRecord(str(error)) from error
    except ValidationError as error:
        raise UnreadableRecord(f"it does not follow the schema: {_problems(error)}") from error
    except ValueError as error:
        raise UnreadableRecord("it holds text that has no UTF-8 form") from error


def _document(data: bytes) -> Document:
    if not data.strip(b" \t\r\n"):
        raise UnreadableRecord("it is empty")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableRecord(f"it is not UTF-8 text (byte {error.start})") from error
    try:
        value = json.loads(text, parse_constant=_no_number)
        return _DOCUMENT.validate_python(value, strict=True)
    except json.JSONDecodeError as error:
        raise UnreadableRecord(f"it is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (ValidationError, RecursionError, ValueError) as error:
        raise UnreadableRecord("it holds no JSON object of usable values") from error


def _no_number(name: str) -> Never:
    raise ValueError(f"{name} is no number in JSON")


def _problems(error: ValidationError) -> str:
    found = [
        f"{'.'.join(map(str, problem['loc'])) or 'record'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f" and {len(found) - _SHOWN_PROBLEMS} more" if len(found) > _SHOWN_PROBLEMS else ""
    return "; ".join(found[:_SHOWN_PROBLEMS]) + more


def name_problem(stem: str) -> str | None:
    """Return why no workspace can have this name, or ``None`` when one can."""
    try:
        parse_name(stem)
    except InvalidName:
        return "its file name is not a workspace name"
    return None
