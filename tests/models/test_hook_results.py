"""What became of a script, in a sentence."""

from __future__ import annotations

import pytest

from nexus.models.hooks import HookName, HookResult


@pytest.mark.parametrize(
    ("code", "tail", "sentence"),
    [
        (0, ("nexus: fine",), "pre-start succeeded"),
        (
            127,
            ("nexus: the interpreter /bin/bash that the first line names is not there",),
            "pre-start failed with status 127: the interpreter /bin/bash that the first line names is not there",
        ),
        (127, ("sh: npm: not found",), "pre-start failed with status 127"),
        (1, ("nexus: somebody's own words",), "pre-start failed with status 1"),
        (126, (), "pre-start failed with status 126"),
    ],
)
def test_a_script_that_could_not_begin_says_why(code: int, tail: tuple[str, ...], sentence: str) -> None:
    assert HookResult(hook=HookName.PRE_START, exit_code=code, tail=tail).sentence == sentence
