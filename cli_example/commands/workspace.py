"""``boulder workspace``, ``boulder ws``: making workspaces, moving them through their life, looking at them."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from typing import Annotated

import typer

from cli_example import options
from cli_example.command import Part
from cli_example.options import Labels, Name, NameOrCurrent, NewName, OptionalName, Statuses
from cli_example.session import Cli

commands = Part()


@commands.command("create", with_settings=True)
async def create(
    cli: Cli,
    name: NewName,
    *,
    start_point: Annotated[
        str, typer.Option("--from", metavar="REF", help="What the branch starts from; HEAD when absent.")
    ] = "HEAD",
    adopt: Annotated[bool, typer.Option("--adopt-branch", help="Use nexus/NAME when it is there already.")] = False,
    label: Labels = None,
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="DURATION", help="After which gc may destroy it.")] = None,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Whether it runs in the end; it does when absent.")
    ] = True,
) -> None:
    """Create a workspace. It gets the branch nexus/NAME, a worktree, ports, and a place where it runs."""
    labels, lifetime = options.pairs(label, "--label"), options.seconds(ttl)
    async with cli.open(asks=True) as nx:
        with cli.progress() as progress:
            workspace = await nx.create(
                name,
                start_point=start_point,
                adopt_branch=adopt,
                labels=labels,
                ttl=lifetime,
                start=start,
                progress=progress,
            )
    cli.show(workspace.info)
    cli.note(*options.notes(workspace.info))


@commands.command("up", with_settings=True)
async def up(cli: Cli, name: NewName) -> None:
    """Have a workspace running. It is created when there is none, started or resumed when it does not run."""
    async with cli.open(asks=True) as nx:
        with cli.progress() as progress:
            workspace = await nx.ensure(name, progress=progress)
    cli.show(workspace.info)
    cli.note(*options.notes(workspace.info))


@commands.command("down")
async def down(
    cli: Cli,
    name: Name,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="Time between TERM and KILL; 10s when absent.")
    ] = "10s",
    keep: Annotated[
        bool, typer.Option("--keep-processes", help="Write them to the engine's disk: they go on when it is started.")
    ] = False,
) -> None:
    """Stop a workspace. Its tree, branch and ports stay."""
    async with cli.open() as nx:
        cli.show(await nx.stop(name, grace=options.seconds(grace) or 0.0, keep_processes=keep))


@commands.command("pause")
async def pause(cli: Cli, name: Name) -> None:
    """Freeze a workspace. Its processes keep their memory."""
    async with cli.open() as nx:
        cli.show(await nx.pause(name))


@commands.command("resume")
async def resume(cli: Cli, name: Name) -> None:
    """Let a paused workspace go on."""
    async with cli.open(asks=True) as nx:
        cli.show(await nx.resume(name))


@commands.command("retry-hooks")
async def retry_hooks(cli: Cli, name: Name) -> int:
    """Run scripts again that failed. Those that come after them follow; status 1 when one fails again."""
    async with cli.open(asks=True) as nx:
        with cli.progress() as progress:
            info = await nx.retry_hooks(name, progress=progress)
    cli.show(info)
    return int(info.degraded is not None)


@commands.command("switch")
async def switch(cli: Cli, name: Name) -> None:
    """Make a workspace the current one. It is woken, and the one before put to sleep at the same time."""
    async with cli.open(asks=True) as nx:
        outcome = await nx.switch(name)
    cli.show(outcome)
    cli.note(*outcome.warnings)


@commands.command("list")
async def list_all(
    cli: Cli,
    label: Labels = None,
    status: Statuses = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also those that can be restored.")] = False,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Of all your repositories.")] = False,
) -> None:
    """List the workspaces. With --backend, --label or --status only those that match."""
    import nexus
    from nexus.models.requests import ListFilter

    labels, wanted, backend = options.pairs(label, "--label"), options.statuses(status), cli.shared.backend
    where = ListFilter(labels=labels, statuses=wanted, backend=backend, destroyed=everything)
    if everywhere:
        cli.show(await nexus.list_everywhere(where if where != ListFilter() else None), empty="no repositories")
        return
    async with cli.open() as nx:
        cli.show(
            await nx.list(where if where != ListFilter() else None), empty="no workspaces; make one: boulder ws up NAME"
        )


@commands.command("show")
async def show(cli: Cli, name: NameOrCurrent = None) -> None:
    """Show everything about a workspace."""
    async with cli.open() as nx:
        cli.show(await nx.get(await cli.name(nx, name)))


@commands.command("ports")
async def ports(cli: Cli, name: NameOrCurrent = None) -> None:
    """Show a workspace's ports. Their addresses, and whether a program listens, declared or not."""
    async with cli.open() as nx:
        cli.show(await nx.list_ports(await cli.name(nx, name)), empty="no ports; name some in .nexus/config.yaml")


@commands.command("hold")
async def hold(
    cli: Cli,
    name: Name,
    *,
    duration: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long; 1h when absent.")] = "1h",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for people.")] = "",
    hold_name: Annotated[str, typer.Option("--as", metavar="HOLD", help="Its name; 'manual' when absent.")] = "manual",
    release: Annotated[bool, typer.Option("--release", help="End the hold now.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Only list the holds.")] = False,
) -> None:
    """Keep a workspace awake for a while. The hold ends by itself; taking it again renews it."""
    async with cli.open() as nx:
        if release:
            await nx.release(name, hold_name)
        elif not listing:
            await nx.hold(name, hold_name, ttl=options.seconds(duration) or 0.0, reason=reason)
        cli.show(await nx.holds(name), empty="no holds")


@commands.command("watch")
async def watch(cli: Cli) -> None:
    """Put idle workspaces to sleep until interrupted. Those past their time are destroyed, never unsaved work."""
    import anyio

    async with cli.open_here() as nx, anyio.create_task_group() as group:
        group.start_soon(nx.watch_idle)
        group.start_soon(nx.watch_ports)
        async with nx.events() as events:
            async for event in events:
                cli.tell(event)


@commands.command("sync")
async def sync(cli: Cli, name: Name) -> None:
    """Fetch and fast-forward a branch. A branch that cannot be fast-forwarded stays, and status 5 says so."""
    async with cli.open() as nx:
        cli.show(await nx.sync(name))


@commands.command("fork")
async def fork(
    cli: Cli,
    name: Name,
    new: Annotated[list[str], typer.Argument(metavar="NEW...", help="What they are called.", show_default=False)],
    at: Annotated[
        str | None, typer.Option("--at", metavar="CHECKPOINT", help="Where they start; as it is now when absent.")
    ] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Whether they run; they do when absent.")] = True,
) -> int:
    """Make workspaces from one that is there, with its uncommitted work. Status 1 when one could not be made."""
    async with cli.open() as nx:
        workspace = await nx.attach(name)
        with cli.progress() as progress:
            made = await workspace.fork(new, at=at, start=start, progress=progress)
    cli.show(tuple(each.outcome for each in made))
    return int(any(each.error for each in made))


@commands.command("destroy")
async def destroy(
    cli: Cli,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Keep unsaved work under refs/nexus/rescue/ and go on.")
    ] = False,
    keep_volumes: Annotated[bool, typer.Option("--keep-volumes", help="Leave its named volumes.")] = False,
) -> None:
    """Remove a workspace. It is refused while work would be lost, and what would be lost is listed."""
    async with cli.open() as nx:
        cli.show(await nx.destroy(name, force=force, keep_volumes=keep_volumes))


@commands.command("restore", with_settings=True)
async def restore(
    cli: Cli,
    name: Name,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When it was destroyed, or the beginning of that.")
    ] = None,
    as_name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="A new name for it.")] = None,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Whether it runs in the end; it does when absent.")
    ] = True,
) -> None:
    """Bring a destroyed workspace back. Its branch, files, staged changes and what was in progress are as they were."""
    async with cli.open(asks=True) as nx:
        with cli.progress() as progress:
            workspace = await nx.restore(
                name, at, as_name=as_name, settings=cli.flags(), start=start, progress=progress
            )
    cli.show(workspace.info)


@commands.command("rescues")
async def rescues(cli: Cli, name: OptionalName = None) -> None:
    """List unsaved work that was kept when workspaces were destroyed by force."""
    async with cli.open() as nx:
        cli.show(await nx.rescues(name), empty="nothing was rescued")


@commands.command("gc")
async def gc(
    cli: Cli, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False
) -> None:
    """Remove leftovers. What crashes left is settled, what belongs to nobody or has expired removed; never unsaved work."""
    async with cli.open() as nx:
        cli.show(await nx.gc(dry_run=dry_run), empty="nothing to remove")
