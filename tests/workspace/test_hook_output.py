"""Values of secrets are taken out of what scripts print, wherever the stream is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexus.workspace.hook_output import output_filter

words = st.text("abAB\n ", min_size=4, max_size=8)


@given(st.lists(words, min_size=1, max_size=3), st.data())
def test_no_cut_lets_a_value_through_and_nothing_else_is_lost(values: list[str], data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from([*values, "xyz", "q"]), max_size=8))
    whole = "|".join(parts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    clean = output_filter({str(number): value for number, value in enumerate(values)})
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    shown = b"".join(clean.feed(piece) for piece in pieces) + clean.finish()
    assert not any(value.encode() in shown for value in values)
    assert shown.count(b"xyz") == parts.count("xyz")


def test_without_secrets_nothing_is_held_back() -> None:
    clean = output_filter({"SHORT": "abc", "EMPTY": ""})
    assert clean.feed(b"abc") == b"abc"
    assert clean.finish() == b""
