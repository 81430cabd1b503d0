"""What a copy has done so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from nexus.models.files import TransferResult


@dataclass(slots=True, kw_only=True)
class TransferCount:
    """Counts what is copied, and names what is not."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    size: int = 0
    """Bytes."""
    skipped: list[str] = field(default_factory=list)
    """What was left out, and why."""

    def result(self) -> TransferResult:
        """Return what was copied."""
        return TransferResult(
            files=self.files,
            directories=self.directories,
            symlinks=self.symlinks,
            size=self.size,
            skipped=tuple(self.skipped),
        )
