"""How a function becomes a command: its own parameters, the shared ones, and one run of it on an event loop."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Concatenate, ParamSpec, Protocol, TypeAlias, cast

import typer
import typer.main

from cli_example.options import Shared, settings, shared
from cli_example.session import Cli, run

P = ParamSpec("P")

Makers: TypeAlias = Mapping[str, Callable[[], object]]
"""What makes each command of a part, by the command's name."""


class Part(dict[str, Callable[[], object]]):
    """The commands of one module."""

    def command(
        self, name: str, *, with_settings: bool = False, kind: type[typer.core.TyperCommand] | None = None
    ) -> Callable[
        [Callable[Concatenate[Cli, P], Awaitable[int | None]]], Callable[Concatenate[Cli, P], Awaitable[int | None]]
    ]:
        """Register an ``async`` function as a command.

        Its first parameter is the :class:`~cli_example.session.Cli`; the others are its own options and arguments. The options
        of :func:`~cli_example.options.shared` are added, so that they may stand before or after the command's name.

        Args:
            name: What it is called.
            with_settings: Whether to add the options of :func:`~cli_example.options.settings`.
            kind: The class of the command, where its words are read in another way.
        """
        constructors = (shared, settings) if with_settings else (shared,)

        def register(
            function: Callable[Concatenate[Cli, P], Awaitable[int | None]],
        ) -> Callable[Concatenate[Cli, P], Awaitable[int | None]]:
            self[name] = lambda: _made(name, function, constructors, kind)
            return function

        return register


class Commands(Mapping[str, object]):
    """Commands by name, as typer holds those of a group; each is made when it is looked up, since a run needs one of sixty.

    Args:
        load: Returns what makes them. Called when the first name is asked for.
    """

    def __init__(self, load: Callable[[], Makers]) -> None:
        self._makers = cache(load)
        self._made: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        if name not in self._made:
            self._made[name] = self._makers()[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers())

    def __len__(self) -> int:
        return len(self._makers())


def group(
    name: str,
    purpose: str,
    load: Callable[[], Makers],
    *,
    constructors: tuple[Callable[..., Shared], ...] = (shared,),
    completion: bool = False,
) -> object:
    """Return commands as a group that takes the shared options before a command's name, and alone prints its help.

    Args:
        name: What it is called.
        purpose: What it is for.
        load: Returns what makes the commands.
        constructors: The functions whose parameters are its options.
        completion: Whether it has the options that install completion in a shell.
    """

    def start(context: typer.Context, **values: object) -> None:
        chosen: Shared = context.obj or Shared()
        for make in constructors:
            chosen = chosen.then(make(**_take(make, values)))
        context.obj = chosen
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    _describe(start, constructors[0], [], constructors)
    app = typer.Typer(name=name, add_completion=completion, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True, help=purpose)(start)
    made = cast("_Group", _as_asked(typer.main.get_command(app)))
    made.commands = Commands(load)
    return made


class _Group(Protocol):
    """What typer makes of an application with a callback."""

    commands: Mapping[str, object]


class _Parameter(Protocol):
    """What typer makes of an option or argument."""

    required: bool
    multiple: bool
    nargs: int
    callback: object
    process_value: Callable[[object, object], object]


class _Command(Protocol):
    """What typer makes of a function."""

    params: Sequence[_Parameter]


def _as_asked(command: object) -> object:
    """Let a command look only at the values that were given. For each of the others too typer builds a validator of pydantic's first."""
    for parameter in cast("_Command", command).params:
        if not parameter.required and parameter.callback is None:
            parameter.process_value = partial(_value, parameter, parameter.process_value)
    return command


def _value(
    parameter: _Parameter, process: Callable[[object, object], object], context: object, value: object
) -> object:
    if value is not None:
        return process(context, value)
    return () if parameter.multiple or parameter.nargs == -1 else None


def _made(
    name: str,
    function: Callable[Concatenate[Cli, P], Awaitable[int | None]],
    constructors: tuple[Callable[..., Shared], ...],
    kind: type[typer.core.TyperCommand] | None,
) -> object:
    def start(context: typer.Context, **values: object) -> int:
        chosen: Shared = context.obj
        for make in constructors:
            chosen = chosen.then(make(**_take(make, values)))
        try:
            return run(chosen, lambda cli: function(cli, **values))  # type: ignore[call-arg, arg-type] # typer has checked
        except typer.BadParameter as error:
            error.ctx = error.ctx or context  # so that the hint can name this command
            raise

    _cli, *own = _parameters(function).values()
    _describe(start, function, own, constructors)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name, cls=kind)(start)
    return _as_asked(typer.main.get_command(alone))


def _take(make: Callable[..., Shared], values: dict[str, object]) -> dict[str, typing.Any]:
    return {name: values.pop(name) for name in _options(make)}


@cache
def _options(make: Callable[..., Shared]) -> Mapping[str, inspect.Parameter]:
    """Return the options that a constructor stands for. A group, its group and the command all have those of every command."""
    return _parameters(make)


def _parameters(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function, each with its type as typer reads it."""
    hints = typing.get_type_hints(function, include_extras=True)
    return {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=_spelled_out(hints[name]))
        for name, parameter in inspect.signature(function).parameters.items()
    }


def _describe(
    start: Callable[..., object],
    function: Callable[..., object],
    own: Iterable[inspect.Parameter],
    constructors: tuple[Callable[..., Shared], ...],
) -> None:
    """Give ``start`` the signature that typer reads the options from."""
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    added = (parameter for make in reversed(constructors) for parameter in _options(make).values())
    signature = inspect.Signature([context, *own, *added])
    vars(start)["__signature__"] = signature
    start.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    start.__name__, start.__doc__ = function.__name__, function.__doc__


def _spelled_out(hint: object) -> object:
    """Return a hint with ``X | None`` written as a ``Union``, the one spelling that older versions of typer know."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint
    kind, *extras = typing.get_args(hint)
    if typing.get_origin(kind) is types.UnionType:
        kind = typing.Union[typing.get_args(kind)]  # noqa: UP007 - made from values
    return typing.Annotated[(kind, *extras)]
