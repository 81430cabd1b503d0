"""The range from which Linux gives outgoing connections their ports, and what it means for ours."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nexus.models.ports import PortRange
from nexus.ports.plan import DOCKER, SPRITE

_IPV4: Final = Path("/proc/sys/net/ipv4")
# Not the fallback: keeping the system from it as well would leave outgoing connections hardly a port.
_OURS: Final = PortRange(start=DOCKER.start, end=SPRITE.end)


def ephemeral_overlap(port_range: PortRange | None = None, *, settings: Path = _IPV4) -> tuple[int, int] | None:
    """Return the first and last port that the system may give to any outgoing connection although workspaces use it.

    Args:
        port_range: The workspaces' ports, when the configuration narrows them.
        settings: Where the kernel shows its settings.

    Returns:
        The part of the workspaces' range that is in ``ip_local_port_range`` and not in ``ip_local_reserved_ports``, from its
        first port to its last; ``None`` when there is none.
    """
    ours = port_range or _OURS
    try:
        low, high = map(int, (settings / "ip_local_port_range").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    reserved = _reserved(settings)
    exposed = [
        port
        for port in range(max(low, ours.start), min(high, ours.end) + 1)
        if not any(port in kept for kept in reserved)
    ]
    return (exposed[0], exposed[-1]) if exposed else None


def reservation_command(port_range: PortRange | None = None, *, settings: Path = _IPV4) -> str:
    """Return the command that keeps the system from the workspaces' ports and keeps what was reserved before."""
    ours = port_range or _OURS
    ranges = [*_reserved(settings), ours]
    value = ",".join(f"{each.start}-{each.end}" if each.end > each.start else str(each.start) for each in ranges)
    return f"sudo sysctl -w net.ipv4.ip_local_reserved_ports={value}"


def _reserved(settings: Path) -> list[PortRange]:
    try:
        text = (settings / "ip_local_reserved_ports").read_text(encoding="ascii").strip()
        pairs = [part.partition("-") for part in text.split(",") if part]
        return [PortRange(start=int(first), end=int(last or first)) for first, _, last in pairs]
    except (OSError, ValueError):
        return []
