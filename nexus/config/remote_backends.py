"""The settings of backends that run somewhere else: checked by type, so that a mistake shows before anything is paid for."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from nexus.config.addresses import WebAddress
from nexus.config.redact import reference_name
from nexus.config.values import Text
from nexus.models.described import Described

_SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def _slug(text: str) -> str:
    if reference_name(text) is None and not _SLUG.fullmatch(text):
        msg = "must be lower-case letters, digits and '-', at most 63, such as 'us-east-1'"
        raise ValueError(msg)
    return text


Slug = Annotated[Text, AfterValidator(_slug)]


class SpriteOptions(Described):
    """The sprite backend."""

    api_endpoint: WebAddress | None = None
    """Address of the service."""
    api_key: Text | None = None
    """Key for the service; better a reference, for example `env:SPRITE_API_KEY`, than the key itself."""
    org: Slug | None = None
    """Organisation that pays; for example `my-org`."""
    region: Slug | None = None
    """Where its machines are; for example `us-east-1`."""


class KubernetesOptions(Described):
    """The kubernetes backend."""

    kubeconfig: Text | None = None
    """File that names clusters; for example `~/.kube/config`."""
    context: Annotated[Text, Field(max_length=253)] | None = None
    """Which of its contexts to use; for example `dev-cluster`."""
    namespace: Slug | None = None
    """Namespace that pods are made in; for example `nexus`."""
    storage_class: Annotated[Text, Field(max_length=253)] | None = None
    """Class of the volumes; for example `standard`."""
    service_account: Annotated[Text, Field(max_length=253)] | None = None
    """Account that pods run under; for example `default`."""
