"""How much a document of settings may hold, whatever language it is written in, and which characters none may."""

from __future__ import annotations

import re
from typing import Final

MAX_DEPTH: Final = 32
MAX_NODES: Final = 10_000
MAX_TEXT: Final = 4 * 1024 * 1024
"""Characters of all values together, aliases counted by what they stand for."""

UNUSABLE: Final = re.compile("[\x00\ud800-\udfff]")
