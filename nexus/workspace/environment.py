"""What programs inside are given and what is written nowhere: variables and files, resolved now and for one use.

Lowest first: files of variables (the user's, then the project's), references in ``env``, secrets. Plain variables of ``env`` are part
of the instance already and rank between the first two. What is resolved comes from the configuration as it is now; a record's
references count only where somebody else says so too: see :mod:`nexus.workspace.references`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import anyio
from pydantic import SecretStr

from nexus.abc import Instance, SupportsSecretFiles
from nexus.config import Settings, allow_hint, may_read_host, runs_host_code
from nexus.errors import InvalidArgument, NexusError, SecretError, SecretNotFound, SecretRefused, Unsupported
from nexus.models.execution import SpawnRequest
from nexus.models.secrets import Delivery, EnvFile, SecretReference
from nexus.models.services import ServiceSpec
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import references
from nexus.workspace.context import Context
from nexus.workspace.prebuild_result import is_being_made
from nexus.workspace.records import plain_env
from nexus.workspace.ssh_grant import ssh_environment

_TAKEN = "NEXUS_"
_STOPPING = 30.0


async def secret_environment(context: Context, record: WorkspaceRecord) -> dict[str, str]:
    """Return the variables whose values are written nowhere: not in the record, not in the instance.

    Plain values are part of the instance already.

    Raises:
        ConfigError: When a reference in ``env`` does not resolve.
        SecretError: When a secret has no value, may not be read, or a file of variables cannot be understood; or when only the
            record says that a variable may be read.
    """
    if is_being_made(record):
        return {}  # whatever scripts write down there becomes part of an image
    settings = context.stack.settings
    values: dict[str, SecretStr] = {}
    for file in settings.env_files:
        values |= await _variables(context, record, file)
    for name in plain_env(record.env_vars):
        values.pop(name, None)
    resolved = await references.resolve(context, record, record.env_vars)
    values |= {name: SecretStr(value) for name, value in resolved.items()}
    values |= await _secrets(context, "env")
    variables = {name: value.get_secret_value() for name, value in values.items()}
    if any(reference.delivery == "file" for reference in settings.secrets):
        variables |= _paths(context, await context.backends.instance(record))
    return {**ssh_environment(record), **variables}


async def with_secrets(context: Context, record: WorkspaceRecord, request: SpawnRequest) -> SpawnRequest:
    """Return a command with what it is to know besides its own variables, which win.

    Raises:
        ConfigError, SecretError: As for :func:`secret_environment`.
    """
    found = await secret_environment(context, record)
    if not found:
        return request
    masked = frozenset(found) - frozenset(request.env)
    return replace(request, env={**found, **request.env}, masked=tuple(sorted(masked | set(request.masked))))


async def secret_files(context: Context, record: WorkspaceRecord, instance: Instance) -> dict[str, SecretStr]:
    """Return the secrets that are delivered as files, before anything is started.

    Raises:
        SecretError: When one has no value or may not be read.
        Unsupported: When the backend has no place for them.
    """
    found = {} if is_being_made(record) else await _secrets(context, "file")
    if found and not isinstance(instance, SupportsSecretFiles):
        raise Unsupported(
            f"the {record.backend} backend has no place in memory for files, so secret {next(iter(found))} cannot be one",
            hint="deliver it as a variable: 'as: env'",
            details={"capability": "secret-files", "provider": record.backend},
        )
    return found


def refuse_own_secrets(context: Context, settings: Settings) -> None:
    """Refuse a creation that brings secrets of its own: they would be forgotten with the call, because no record keeps any.

    Raises:
        InvalidArgument: When it does.
    """
    known = context.stack.settings
    if (settings.secrets, settings.env_files, settings.secrets_allowed) != (
        known.secrets,
        known.env_files,
        known.secrets_allowed,
    ):
        raise InvalidArgument(
            "secrets and files of variables cannot be given to one workspace alone",
            hint="name them in your own configuration file, or under project_overrides",
        )


async def deliver(instance: Instance, files: Mapping[str, SecretStr]) -> None:
    """Write secrets into the memory of a workspace that has just been started. When that fails it is stopped again."""
    if not (files and isinstance(instance, SupportsSecretFiles)):
        return
    try:
        await instance.write_secrets(files)
    except BaseException:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_STOPPING), suppress(NexusError):
            await instance.stop(grace=1.0)
        raise


def _paths(context: Context, instance: Instance) -> dict[str, str]:
    if not isinstance(instance, SupportsSecretFiles):
        return {}
    names = (reference.name for reference in context.stack.settings.secrets if reference.delivery == "file")
    return {f"{name}_FILE": instance.secret_path(name) for name in names}


async def _secrets(context: Context, delivery: Delivery) -> dict[str, SecretStr]:
    settings = context.stack.settings
    found: dict[str, SecretStr] = {}
    for reference in settings.secrets:
        if reference.delivery != delivery:
            continue
        # A secret that need not be there is left out where it is not, or may not be read.
        with suppress(*((SecretNotFound, SecretRefused) if reference.required is False else ())):
            if not may_read_host(reference, settings.secrets_allowed):
                raise _refused(reference)
            found[reference.name] = await context.secrets.resolve(reference)
    return found


def _refused(reference: SecretReference) -> SecretRefused:
    return SecretRefused(
        f"{reference.place}: the project's file wants {reference.permission!r} of yours as secret {reference.name}, which you have not "
        "allowed",
        hint=allow_hint(reference),
        details={"name": reference.name, "place": reference.place, "permission": reference.permission},
    )


async def _variables(context: Context, record: WorkspaceRecord, file: EnvFile) -> dict[str, SecretStr]:
    found = await context.secrets.variables(file)
    for name in found:
        if name.startswith(_TAKEN):
            raise SecretError(
                f"{file.path}: it sets {name}, but names that begin with {_TAKEN} are taken",
                hint="remove that line",
                details={"path": str(file.path), "name": name},
            )
        if not file.trusted and record.backend == "local" and runs_host_code(name):
            raise SecretError(
                f"{file.path}: a project's file of variables cannot set {name} while the backend is 'local': it would run the "
                "clone's code in every command on this host",
                hint=f"remove that line, or set {name} in your own file",
                details={"path": str(file.path), "name": name},
            )
    return found


async def service_environment(
    context: Context, record: WorkspaceRecord, service: ServiceSpec
) -> tuple[dict[str, str], dict[str, str]]:
    """Return a service's variables: those that anybody may read, and those whose values are written nowhere.

    Raises:
        ConfigError: When a reference does not resolve.
        SecretRefused: When nobody but the record says that it may be read.
    """
    return plain_env(service.env), await references.resolve(context, record, service.env, service=service.name)
