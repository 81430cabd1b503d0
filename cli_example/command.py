"""How a function becomes a command: its own parameters, the shared ones, and one run of it on an event loop."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Concatenate, ParamSpec

import typer

from cli_example.options import Shared, settings, shared
from cli_example.session import Cli, run

P = ParamSpec("P")


def command(
    group: typer.Typer, name: str, *, with_settings: bool = False, kind: type[typer.core.TyperCommand] | None = None
) -> Callable[
    [Callable[Concatenate[Cli, P], Awaitable[int | None]]], Callable[Concatenate[Cli, P], Awaitable[int | None]]
]:
    """Register an ``async`` function as a command.

    Its first parameter is the :class:`~cli_example.session.Cli`; the others are its own options and arguments. The options
    of :func:`~cli_example.options.shared` are added, so that they may stand before or after the command's name.

    Args:
        group: Where it belongs.
        name: What it is called.
        with_settings: Whether to add the options of :func:`~cli_example.options.settings`.
        kind: The class of the command, where its words are read in another way.
    """
    constructors = (shared, settings) if with_settings else (shared,)

    def register(
        function: Callable[Concatenate[Cli, P], Awaitable[int | None]],
    ) -> Callable[Concatenate[Cli, P], Awaitable[int | None]]:
        def start(context: typer.Context, **values: object) -> int:
            chosen: Shared = context.obj
            for make in constructors:
                chosen = chosen.then(make(**_take(make, values)))
            try:
                return run(chosen, lambda cli: function(cli, **values))  # type: ignore[call-arg, arg-type] # typer has checked
            except typer.BadParameter as error:
                error.ctx = error.ctx or context  # so that the hint can name this command
                raise

        own = list(inspect.signature(function).parameters.values())[1:]
        _describe(start, function, own, constructors)
        group.command(name, cls=kind)(start)
        return function

    return register


def group(
    purpose: str, *parts: typer.Typer, constructors: tuple[Callable[..., Shared], ...] = (shared,)
) -> typer.Typer:
    """Return commands as a group that takes the shared options before a command's name, and alone prints its help.

    Args:
        purpose: What it is for.
        parts: The commands.
        constructors: The functions whose parameters are its options.
    """

    def start(context: typer.Context, **values: object) -> None:
        chosen: Shared = context.obj or Shared()
        for make in constructors:
            chosen = chosen.then(make(**_take(make, values)))
        context.obj = chosen
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    _describe(start, constructors[0], [], constructors)
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True, help=purpose)(start)
    app.registered_commands += [info for part in parts for info in part.registered_commands]
    return app


def _take(make: Callable[..., Shared], values: dict[str, object]) -> dict[str, typing.Any]:
    return {name: values.pop(name) for name in inspect.signature(make).parameters}


def _describe(
    start: Callable[..., object],
    function: Callable[..., object],
    own: list[inspect.Parameter],
    constructors: tuple[Callable[..., Shared], ...],
) -> None:
    """Give ``start`` the signature that typer reads the options from."""
    added = [parameter for make in reversed(constructors) for parameter in inspect.signature(make).parameters.values()]
    hints: Mapping[str, object] = {
        name: _spelled_out(hint)
        for source in (function, *constructors)
        for name, hint in typing.get_type_hints(source, include_extras=True).items()
    }
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    named = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in (*own, *added)
    ]
    vars(start)["__signature__"] = inspect.Signature([context, *named])
    start.__annotations__ = {"context": typer.Context, **{parameter.name: parameter.annotation for parameter in named}}
    start.__name__, start.__doc__ = function.__name__, function.__doc__


def _spelled_out(hint: object) -> object:
    """Return a hint with ``X | None`` written as a ``Union``, the one spelling that older versions of typer know."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint
    kind, *extras = typing.get_args(hint)
    if typing.get_origin(kind) is types.UnionType:
        kind = typing.Union[typing.get_args(kind)]  # noqa: UP007 - made from values
    return typing.Annotated[(kind, *extras)]
