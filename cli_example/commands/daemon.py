"""``boulder daemon``: the process that serves workspaces to editors and other programs."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from typing import Annotated

import typer

import nexus
from cli_example import options
from cli_example.command import Part
from cli_example.session import Cli

commands = Part()

_SCOPES = "fs:read fs:write exec terminal workspace:read workspace:write port config"
_PAGE_SCOPES = "workspace:read workspace:write terminal"


@commands.command("start")
async def start(
    cli: Cli,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay here and show the log, for systemd and to watch it.")
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Show a page to browsers, on the TCP port; as the setting daemon.page.")
    ] = False,
) -> None:
    """Start the daemon of this repository. It goes on in the background, and this returns once it can be connected to."""
    flags = {**cli.flags(), **({"daemon.page": True} if page else {})}
    if not foreground:
        started = await nexus.start_daemon(cli.project, flags=flags)
        return cli.show(started.info)
    serving = nexus.Serving(cli.project, flags=flags)
    with cli.signals.going_to(serving.signalled):
        await serving.run(show_log=True)
    return None


@commands.command("status")
async def status(cli: Cli) -> None:
    """Show the daemon of this repository; status 6 when none runs."""
    cli.show(await _running(cli))


async def _running(cli: Cli) -> nexus.DaemonInfo:
    from nexus.errors import DaemonUnavailable

    found = await nexus.find_daemon(cli.project)
    if found is None:
        raise DaemonUnavailable("no daemon runs for this repository", hint="start one: boulder daemon start")
    return found.info


@commands.command("stop")
async def stop(
    cli: Cli,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="That it may take; daemon.drain and 10s when absent."),
    ] = None,
) -> None:
    """Have the daemon end what is under way and stop. Workspaces run on."""
    stopped = await nexus.stop_daemon(cli.project, timeout=options.seconds(timeout))
    if stopped is None:
        cli.note("no daemon ran for this repository")
    else:
        cli.show({"stopped": stopped.pid})


@commands.command("token")
async def token(
    cli: Cli,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help=f"May be repeated; when absent: {_SCOPES}.")
    ] = None,
    workspace: Annotated[
        list[str] | None, typer.Option("--workspace", metavar="NAME", help="May be repeated; all when absent.")
    ] = None,
    ttl: Annotated[str, typer.Option("--ttl", metavar="DURATION", help="How long it holds, at most 24h.")] = "1h",
    subject: Annotated[
        str, typer.Option("--subject", metavar="WHO", help="Who it is for; the log names them.")
    ] = "cli",
    *,
    page: Annotated[
        bool,
        typer.Option(
            "--page", help=f"Print the page's address with it, to be opened; scopes when absent: {_PAGE_SCOPES}."
        ),
    ] = False,
) -> None:
    """Print a new token for your daemons. It is kept nowhere; its id, on standard error, is what revokes it."""
    daemon = await _running(cli) if page else None
    tokens = await nexus.daemon_tokens(cli.project)
    scopes = scope or (_PAGE_SCOPES if page else _SCOPES).split()
    issued = tokens.issue(subject=subject, scopes=scopes, workspaces=workspace or "*", ttl=ttl)
    shown = issued.token if daemon is None else daemon.page_url(issued.token)
    cli.note(f"{issued.token_id} holds until {issued.expires_at:%Y-%m-%d %H:%M:%S %Z}")
    cli.show(issued if cli.shared.json and daemon is None else shown)


@commands.command("revoke")
async def revoke(
    cli: Cli,
    token_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The token's id.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every token that was ever issued.")] = False,
) -> None:
    """Take a token back. It is refused from the next request on, connections that are open included."""
    if (token_id is None) is not everything:
        raise typer.BadParameter("give the id of a token, or --all", param_hint="ID")
    tokens = await nexus.daemon_tokens(cli.project)
    if token_id is not None:
        tokens.revoke(token_id)
    else:
        tokens.rotate(forget=True)
    cli.show({"revoked": token_id or "all"})


@commands.command("rotate")
async def rotate(cli: Cli) -> None:
    """Sign with a new key from now on. Tokens of the last key hold until the next rotation, older ones no longer."""
    (await nexus.daemon_tokens(cli.project)).rotate()
    cli.show({"rotated": "yes"})


@commands.command("stdio")
async def stdio(cli: Cli) -> None:
    """Talk to one client over standard input and output, framed as language servers do it; ends with its input.

    Where the daemon runs with the same settings, it is that one which answers.
    """
    await nexus.serve_stdio(cli.project, flags=cli.flags(), alone=cli.shared.alone)
