"""``boulder secrets``: the encrypted store, which ``source: store`` in a configuration file refers to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import nexus
from cli_example.command import Part
from cli_example.secret_input import ask_passphrase, read_value
from cli_example.session import Cli

commands = Part()

SecretName = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.")]


@commands.command("set")
async def keep(
    cli: Cli,
    name: SecretName,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", metavar="PATH", help="Take the value from a file.")
    ] = None,
) -> None:
    """Keep a secret. Its value comes from a prompt, standard input or a file, never from the command line."""
    store = nexus.SecretStore(ask=ask_passphrase)
    await store.set(name, read_value(name, from_file))
    cli.show({"name": name, "store": str(store.path)})


@commands.command("list")
async def names(cli: Cli) -> None:
    """List the names of the secrets that are kept. Values are never shown."""
    cli.show(await nexus.SecretStore().names(), empty="no secrets are kept")


@commands.command("rm")
async def remove(cli: Cli, name: SecretName) -> None:
    """Forget a secret."""
    await nexus.SecretStore().remove(name)
    cli.show({"removed": name})
