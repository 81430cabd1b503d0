"""``python -m cli_example``: the same as ``boulder``."""

from __future__ import annotations

import sys

from cli_example import main

sys.exit(main())
