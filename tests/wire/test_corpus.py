"""Exchanges that were recorded once are understood for ever, and said again in the same words: clients of then and now can talk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_core import from_json

from nexus.wire.failures import error_of, fault_of
from nexus.wire.frames import decode
from nexus.wire.messages import Failure, Notification, Request, Success, parse, serialise
from nexus.wire.methods import METHODS, NOTICES
from nexus.wire.reading import read_result

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.jsonl"))


def recorded(path: Path) -> Iterator[tuple[str, str | bytes]]:
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        yield entry["from"], bytes.fromhex(entry["hex"]) if "hex" in entry else entry["text"]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_an_exchange_is_understood_and_said_in_the_same_words(path: Path) -> None:
    asked: dict[object, str] = {}
    seen = set()
    for sender, message in recorded(path):
        if isinstance(message, bytes):
            assert decode(message, most=65_536).encode() == message
            continue
        parsed = parse(message, most=1 << 20, depth=64)
        match parsed:
            case Request(id=id, method=method, params=params):
                assert sender == "client"
                asked[id] = method
                seen.add(method)
                wanted = {key: value for key, value in params.items() if key != "_meta"}
                read = METHODS[method].params.model_validate(wanted, by_alias=True, by_name=False)
                assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == wanted
            case Success(id=id, result=result):
                kind = METHODS[asked[id]].result
                assert from_json(serialise(Success(id, read_result(kind, result)))) == from_json(message)
            case Failure(fault=fault):
                if fault.number > 0:
                    again = fault_of(error_of(fault), request_id=str(fault.data["requestId"]))
                    assert (again.number, again.message, again.data) == (fault.number, fault.message, fault.data)
            case Notification(method=method, params=params) if method in NOTICES:
                told = NOTICES[method].params.model_validate(params, by_alias=True, by_name=False)
                assert told.model_dump(mode="json", by_alias=True, exclude_unset=sender == "client") == params
            case Notification(method=method):
                assert method in {"initialized", "$/progress", "$/cancelRequest"}
    assert len(seen) > 12


def test_there_is_a_corpus() -> None:
    assert {path.stem for path in CORPUS} == {"v1", "v1-terminals"}
