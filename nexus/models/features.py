"""What a service can do here and now, as far as that is known without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping

from nexus.models.base import Model
from nexus.models.files import WatchMode
from nexus.models.instances import Capability


class Features(Model):
    """What a service can do."""

    backends: Mapping[str, frozenset[Capability] | None]
    """The backends by name, with what they can do; ``None`` for one that was not needed yet: probing tells."""
    search: bool
    """Whether the contents of files can be searched: that needs the extra ``search``."""
    watch: WatchMode
    """How files are watched: the kernel tells of changes, or they are looked for."""
