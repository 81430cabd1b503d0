"""Files of variables: what people write is understood, nothing is looked up or run, and errors say where without quoting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import SecretError
from nexus.secrets.dotenv import parse_dotenv

FILE = rb"""# comment

PLAIN=value
  export EXPORTED = spaced out   # comment
HASH=a#b
EMPTY=
COMMENT= # nothing
SINGLE='a "b" \n $HOME #c'   # said
DOUBLE="tab\there \"quoted\" \$HOME $HOME \x"
LINES="one
two"
KEY='-----BEGIN-----
abc
-----END-----
'
COMMAND=$(cat /etc/passwd) `id`
URL=postgres://u:p@h/x?a=b
PLAIN=last
"""


def test_the_usual_ways_to_write_them() -> None:
    assert parse_dotenv(b"\xef\xbb\xbf" + FILE.replace(b"\n", b"\r\n"), ".env") == {
        "PLAIN": "last",
        "EXPORTED": "spaced out",
        "HASH": "a#b",
        "EMPTY": "",
        "COMMENT": "",
        "SINGLE": 'a "b" \\n $HOME #c',
        "DOUBLE": 'tab\there "quoted" $HOME $HOME \\x',
        "LINES": "one\ntwo",
        "KEY": "-----BEGIN-----\nabc\n-----END-----\n",
        "COMMAND": "$(cat /etc/passwd) `id`",
        "URL": "postgres://u:p@h/x?a=b",
    }


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        (b"A=1\nhunter2\n", ":2:8", "no '='"),
        (b"A=1\n  9X=hunter2\n", ":2:3", "not NAME=value"),
        (b"A='hunter2\nB=2\n", ":1:3", "never closed"),
        (b'A="x\\"\n', ":1:3", "never closed"),
        (b"A='x' hunter2\n", ":1:6", "follows the closing"),
        (b"A=1\nB=\xffhunter2", ":2:3", "not UTF-8"),
        (b"A=1\nB=\0hunter2", ":2:3", "NUL"),
        (b"export\n", ":1:7", "no '='"),
    ],
)
def test_errors_say_where_and_never_what(data: bytes, place: str, words: str) -> None:
    with pytest.raises(SecretError, match=words) as caught:
        parse_dotenv(data, "/p/.env")
    assert caught.value.message.startswith(f"/p/.env{place}: ")
    assert "hunter2" not in str(caught.value.to_json())
    assert caught.value.__cause__ is None


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True), st.text(max_size=20)))
def test_single_quotes_keep_everything(values: dict[str, str]) -> None:
    usable = {
        name: value
        for name, value in values.items()
        if not set(value) & {"'", "\0"} and "\r" not in value and value.isprintable()
    }
    text = "\n".join(f"{name}='{value}'" for name, value in usable.items())
    assert parse_dotenv(text.encode(), "x") == usable


@given(st.binary(max_size=60))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    try:
        found = parse_dotenv(data, "x")
    except SecretError:
        return
    assert all("\0" not in value for value in found.values())
