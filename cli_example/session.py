"""One run of a command: it opens what the command needs, shows what it returns, and turns every error into a line and a status."""

# ruff: noqa: PLC0415 - what not every command needs is imported when it runs, so that help is quick

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

import nexus
from cli_example import errors
from cli_example.options import Shared
from cli_example.progress import Reporter, reporting
from cli_example.render import clean

if TYPE_CHECKING:
    from pydantic import JsonValue

    from cli_example.signals import Signals
    from nexus.models.events import WorkspaceEvent
    from nexus.models.trust import TrustItem


_PLUGINS: Final = "PYDANTIC_DISABLE_PLUGINS"


class Cli:
    """What a command works with.

    Args:
        shared: The options that every command has.
        signals: Who gets this process's signals.
    """

    def __init__(self, shared: Shared, signals: Signals) -> None:
        self.shared = shared
        self.signals = signals
        self.theme = "auto"
        """Whose colours the output has; ``preferences.theme`` once the repository is open."""
        self._clear: Callable[[], None] | None = None
        self._show_again: Callable[[], None] | None = None

    def flags(self) -> Mapping[str, JsonValue]:
        """Return the settings given on the command line."""
        chosen: dict[str, JsonValue] = {"backend": self.shared.backend} if self.shared.backend else {}
        if self.shared.assignments:
            from nexus.config import parse_assignment

            chosen |= dict(map(parse_assignment, self.shared.assignments))
        return chosen

    @property
    def project(self) -> Path:
        """Where the repository is looked for."""
        return self.shared.project or Path()

    @asynccontextmanager
    async def open(self, *, asks: bool = False) -> AsyncGenerator[nexus.NexusClient | nexus.WorkspaceManager, None]:
        """Open the repository: through the daemon that runs, where it does the same as this process would.

        Args:
            asks: Whether a person may have to be asked on the way, which only this process can do.
        """
        from cli_example.approval import can_ask

        async with AsyncExitStack() as stack:
            there = not self.shared.alone and not (asks and can_ask() and not self.shared.json)
            nx = await self._connected(stack) if there else None
            yield await stack.enter_async_context(self.open_here()) if nx is None else nx

    async def _connected(self, stack: AsyncExitStack) -> nexus.NexusClient | None:
        """Return a client of the daemon that does the same as this process would; ``None`` when none runs."""
        from nexus.errors import DaemonUnavailable

        async with AsyncExitStack() as ours:
            ours.enter_context(_without_plugins())
            found = await nexus.matching_daemon(self.project, flags=self.flags())
            if found is None:
                return None
            try:
                nx = await ours.enter_async_context(nexus.connect(found.socket or found.url or "", token=found.token))
            except DaemonUnavailable:
                return None  # it has just ended
            await ours.enter_async_context(self._following(nx))
            stack.push_async_exit(ours.pop_all())
            return nx

    @asynccontextmanager
    async def open_here(self) -> AsyncGenerator[nexus.WorkspaceManager, None]:
        """Open the repository in this process."""
        from cli_example.approval import can_ask
        from cli_example.secret_input import ask_passphrase

        # Whoever reads JSON is a program, and is told what to do instead of being asked.
        approve = self._approve if can_ask() and not self.shared.json else None
        async with nexus.open(self.project, flags=self.flags(), approve=approve, ask_passphrase=ask_passphrase) as nx:
            self._look_at(nx.config)
            forget = nx.observe(self._told)
            try:
                yield nx
            finally:
                forget()

    @asynccontextmanager
    async def _following(self, nx: nexus.NexusClient) -> AsyncGenerator[None, None]:
        """Tell what happens beside, as it is told of what happens in this process."""
        import anyio

        from cli_example.render import is_terminal

        if self.shared.verbose:
            self._look_at(nexus.ConfigStack.load(self.project, flags=self.flags()))
        elif is_terminal(sys.stdout):
            self.theme = str(await nx.setting("preferences.theme") or self.theme)

        async def follow() -> None:
            async for event in events:
                self._told(event)

        async with nx.events() as events, anyio.create_task_group() as group:
            group.start_soon(follow)
            yield
            group.cancel_scope.cancel()

    def _look_at(self, config: nexus.ConfigStack) -> None:
        self.theme = config.settings.preferences.theme
        if self.shared.verbose:
            self.note(*config.warnings)

    async def name(self, nx: nexus.NexusClient | nexus.WorkspaceManager, given: str | None) -> str:
        """Return the name that was given, or that of the current workspace."""
        from nexus.errors import WorkspaceNotFound

        name = given or await nx.current()
        if name is None:
            hint = "name one, or make one current: boulder ws switch NAME"
            raise WorkspaceNotFound("no workspace is the current one", hint=hint)
        return name

    @contextmanager
    def progress(self) -> Generator[Reporter, None, None]:
        """Show how a long step moves on."""
        with reporting(verbose=self.shared.verbose) as (report, clear, again), self.signals.restoring(clear):
            self._clear, self._show_again = clear, again
            try:
                yield report
            finally:
                self._clear = self._show_again = None

    async def _approve(self, items: tuple[TrustItem, ...]) -> bool:
        """Ask, with the bars out of the way."""
        from cli_example.approval import ask

        if self._clear is None or self._show_again is None:
            return await ask(items)
        self._clear()
        try:
            return await ask(items)
        finally:
            self._show_again()

    def show(self, value: object, *, empty: str = "nothing", always_json: bool = False) -> None:
        """Print what a command returns: for people, or with ``--json`` as one document.

        Args:
            value: A model, a tuple of models, or a mapping.
            empty: What people are told, on standard error, when there is nothing in it.
            always_json: Print JSON for people too.
        """
        from cli_example import render, views

        if self.shared.json or always_json:
            sys.stdout.write(f"{views.to_json(value)}\n")
            sys.stdout.flush()
        else:
            render.draw(views.view(value), empty=empty, theme=self.theme)

    def note(self, *lines: str) -> None:
        """Tell people something on standard error that is no error."""
        sys.stderr.writelines(f"note: {clean(line)}\n" for line in lines)

    def tell(self, event: WorkspaceEvent) -> None:
        """Print what happened, one line each; with ``--json`` one document a line."""
        text = event.model_dump_json() if self.shared.json else words(event)
        if text:
            sys.stdout.write(f"{text if self.shared.json else clean(text)}\n")
            sys.stdout.flush()

    def _told(self, event: WorkspaceEvent) -> None:
        if event.kind == "port_changed":
            change = event.change
            self.note(
                f"port {change.name} of {event.name} is {change.new} now: {change.old} was taken by another program"
            )


@contextmanager
def _without_plugins() -> Generator[None, None, None]:
    """Keep pydantic from looking through all that is installed for plugins: only where no program is started that would inherit it."""
    before = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PLUGINS]
        else:
            os.environ[_PLUGINS] = before


def run(shared: Shared, act: Callable[[Cli], Awaitable[int | None]]) -> int:
    """Carry out a command on an event loop of its own.

    Args:
        shared: The options that every command has.
        act: The command.

    Returns:
        The exit status.
    """
    import anyio

    from cli_example.signals import Signals

    signals = Signals()
    result: list[int | None] = []

    async def main() -> None:
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                await group.start(signals.watch, scope)
                result.append(await act(Cli(shared, signals)))
            group.cancel_scope.cancel()

    try:
        anyio.run(main)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the boundary: every error becomes a line and a status
        return report(error, shared)
    if not result and signals.ended_by is not None:
        return say(errors.interrupted(signals.ended_by, signals.ended_by.name), shared)
    return (result[0] if result else None) or errors.OK


def words(event: WorkspaceEvent) -> str:
    """Return an event in words; nothing for those that people need not see."""
    match event.kind:
        case "status_changed":
            return f"{event.name} is {event.status}: {event.reason}"
        case "port_opened":
            return f"{event.name} listens on {event.port_name or event.port}: {event.url or 'inside only'}"
        case "port_closed":
            return f"{event.name} no longer listens on {event.port_name or event.port}"
        case _:
            return ""


def report(error: BaseException, shared: Shared) -> int:
    """Say what went wrong and return the exit status."""
    from nexus.errors import NexusError

    error = errors.single(error)
    if isinstance(error, SystemExit | GeneratorExit):
        raise error
    if isinstance(error, KeyboardInterrupt):
        return say(errors.interrupted(2, "SIGINT"), shared)
    if isinstance(error, BrokenPipeError) and not isinstance(error, NexusError):
        _forget_output()
        return errors.SIGNALLED + 13
    if isinstance(error, typer.BadParameter):
        raise error  # a mistake on the command line that only the command could see
    return say(errors.failure(error), shared)


def say(failure: errors.Failure, shared: Shared) -> int:
    """Print a failure on standard error and return its exit status."""
    try:
        if shared.json:
            sys.stderr.write(f"{failure.to_json()}\n")
        else:
            sys.stderr.writelines(f"{line}\n" for line in failure.lines(verbose=shared.verbose))
        sys.stderr.flush()
    except OSError:
        pass  # nobody is left to read it; the status still tells
    return failure.status


def _forget_output() -> None:
    """Point standard output nowhere, so that the interpreter's last flush does not complain about a reader that has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
