"""Secrets do not get through, however they are written and wherever the stream is cut; everything else does."""

from __future__ import annotations

import base64
import itertools
import json
import pickle
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from nexus.masking import Masker
from nexus.secrets import Redactor

VALUE = 'pa$$ "w/ö+rd\\'


def redactor(*values: str) -> Redactor:
    return Redactor(map(SecretStr, values))


def streamed(one: Redactor, pieces: list[bytes]) -> bytes:
    return b"".join([*(one.feed(piece) for piece in pieces), one.finish()])


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps({"token": VALUE}),
        json.dumps({"token": VALUE}, ensure_ascii=False),
        quote_plus(VALUE),
        quote_plus(VALUE).lower(),
        repr(VALUE),
        *(base64.b64encode(b"x" * n + VALUE.encode() + b"y" * n).decode() for n in range(4)),
        base64.urlsafe_b64encode(b"user:" + VALUE.encode()).decode(),
    ],
)
def test_a_secret_is_found_in_the_usual_spellings(written: str) -> None:
    one = redactor(VALUE)
    shown = one.redact(f"before {written} after")
    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for piece in (VALUE, "rd", quote_plus(VALUE)[2:6]):
        assert piece not in shown
    data = one.another().redact_bytes(f"before {written} after".encode())
    assert data == shown.encode()


def test_base64_is_masked_but_for_what_its_neighbours_have_a_part_in() -> None:
    secret = "correct horse battery staple"
    for before in range(3):
        whole = base64.b64encode(b"q" * before + secret.encode() + b"zz").decode()
        shown = redactor(secret).redact(whole)
        assert "***" in shown
        assert len(shown.replace("***", "")) <= 8, shown


def test_several_lines_are_masked_one_by_one_and_as_a_terminal_shows_them() -> None:
    key = "-----BEGIN KEY-----\nAAAAbbbbCCCCdddd\nEEEEffffGGGG\n-----END KEY-----\n"
    one = redactor(key)
    assert one.redact(f"  {key}".replace("\n", "\r\n")).strip() == "***"
    indented = "".join(f"    {line}\n" for line in key.splitlines())
    assert one.redact(indented).split() == ["***"] * 4
    assert one.redact("AAAAbbbb alone") == "AAAAbbbb alone"


def test_short_values_are_left_and_say_so() -> None:
    assert redactor("abc").redact("abc") == "abc"
    assert not redactor("abc", "")
    assert redactor("abcd").redact("abcde") == "***e"


def test_bytes_that_are_no_text() -> None:
    value = b"\xff\xfekey".decode("utf-8", "surrogateescape")
    assert redactor(value).redact_bytes(b"<\xff\xfekey>") == b"<***>"
    lone = "\ud800half"
    assert redactor(lone).redact(f"<{lone}>") == "<***>"


def test_nothing_is_held_back_that_cannot_become_a_secret() -> None:
    one = redactor("hunter22")
    assert one.feed(b"password: ") == b"password: "
    assert one.feed(b"hunt") == b""
    assert one.feed(b"ing> ") == b"hunting> "
    assert one.feed(b"hunter2") == b""
    assert one.finish() == b"hunter2"


def test_it_never_shows_what_it_hides() -> None:
    one = redactor("hunter22")
    assert "hunter22" not in repr(one)
    assert "hunter22" not in str(one)
    assert one.another().redact("hunter22") == "***"
    assert b"hunter22" not in pickle.dumps(repr(one))


def reference(data: bytes, patterns: list[bytes]) -> bytes:
    """The slow and obvious way: mark every byte of every occurrence; occurrences that share a byte are one run."""
    joined = [False] * len(data)  # whether byte i belongs to the same run as byte i - 1
    covered = [False] * len(data)
    for pattern in patterns:
        for at in range(len(data) - len(pattern) + 1):
            if data[at : at + len(pattern)] == pattern:
                for index in range(at, at + len(pattern)):
                    covered[index] = True
                    joined[index] |= index > at
    shown = b""
    for index, byte in enumerate(data):
        if not covered[index]:
            shown += bytes([byte])
        elif not joined[index]:
            shown += b"***"
    return shown


_SMALL = st.binary(max_size=40).map(lambda data: bytes(97 + byte % 3 for byte in data))
_PATTERNS = st.lists(
    st.binary(min_size=1, max_size=6).map(lambda data: bytes(97 + byte % 3 for byte in data)), max_size=4
)


@given(data=_SMALL, patterns=_PATTERNS, cuts=st.lists(st.integers(0, 40), max_size=8))
def test_however_the_stream_is_cut_the_same_is_masked(data: bytes, patterns: list[bytes], cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    masker = Masker(patterns)
    given_out = b"".join([*(masker.feed(piece) for piece in pieces), masker.finish()])
    assert given_out == reference(data, patterns)
    assert masker.finish() == b""


@given(
    value=st.text(min_size=4, max_size=30),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    cut=st.integers(0, 100),
)
def test_no_value_gets_through(value: str, before: str, after: str, cut: int) -> None:
    text = before + value + after
    assert value not in redactor(value).redact(text) or value in "***"
    data = text.encode("utf-8", "surrogatepass")
    shown = streamed(redactor(value), [data[:cut], data[cut:]])
    assert shown == redactor(value).redact_bytes(data)
    assert b"***" in shown
