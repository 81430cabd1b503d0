"""How the words of ``exec`` are read: from the first word of the command on, everything belongs to the command."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from typer.core import TyperCommand

if TYPE_CHECKING:
    from typing import Any


class CommandLine(TyperCommand):
    """A command whose second word starts another program's command line: ``exec NAME pytest --json``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's class, which typer hides
        """Read the words."""
        valued = {
            option
            for parameter in self.get_params(ctx)
            if not getattr(parameter, "is_flag", False)
            for option in parameter.opts
            if option.startswith("-")
        }
        return super().parse_args(ctx, with_separator(args, valued))


def with_separator(words: Sequence[str], valued: AbstractSet[str]) -> list[str]:
    """Return the words with ``--`` before the second one that is no option; as they are where ``--`` comes first.

    Args:
        words: The words after ``exec``.
        valued: The options that take a value.
    """
    plain = 0
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            break
        if word.startswith("-") and word != "-":
            position += 1 + _takes_next(word, valued)
            continue
        plain += 1
        if plain == 2:
            return [*words[:position], "--", *words[position:]]
        position += 1
    return list(words)


def _takes_next(word: str, valued: AbstractSet[str]) -> bool:
    """Return whether the word after an option is its value."""
    if word.startswith("--"):
        return word in valued
    # A cluster of short ones: the first that takes a value takes the rest of the word, or the next word.
    for index, letter in enumerate(word[1:], start=1):
        if f"-{letter}" in valued:
            return index == len(word) - 1
    return False
