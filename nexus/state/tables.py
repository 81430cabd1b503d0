"""The tables of the node's registry: each function is the inside of one transaction."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nexus.errors import AlreadyExists, PortInUse, QuotaExceeded
from nexus.models.ids import NodeId
from nexus.models.ports import PortProtocol
from nexus.models.workspace import ProcessState
from nexus.processes import is_alive
from nexus.state.rows import Claim, Decision, Known, LeaseRow, PortKey, RestoreReport

SCHEMA: Final = 1
TABLES: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE claims (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, repository TEXT NOT NULL, user TEXT NOT NULL, backend TEXT NOT NULL,
        created_at TEXT NOT NULL, UNIQUE (repository, name)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE leases (
        protocol TEXT NOT NULL, port INTEGER NOT NULL, owner TEXT NOT NULL, purpose TEXT NOT NULL, fixed INTEGER NOT NULL,
        base INTEGER, created_at TEXT NOT NULL, pid INTEGER, start_time INTEGER, boot_id TEXT, PRIMARY KEY (protocol, port)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX leases_by_owner ON leases (owner)",
    "CREATE INDEX leases_of_programs ON leases (pid) WHERE pid IS NOT NULL",
)
_INSERT_CLAIM: Final = "INSERT INTO claims VALUES (:id, :name, :repository, :user, :backend, :created_at)"
_RESTORE_CLAIM: Final = "INSERT OR IGNORE INTO claims VALUES (:id, :name, :repository, :user, :backend, :created_at)"
_PUT_LEASE: Final = """
    REPLACE INTO leases
    VALUES (:protocol, :port, :owner, :purpose, :fixed, :base, :created_at, :pid, :start_time, :boot_id)
"""
_RESTORE_LEASE: Final = """
    INSERT OR IGNORE INTO leases
    VALUES (:protocol, :port, :owner, :purpose, :fixed, :base, :created_at, :pid, :start_time, :boot_id)
"""
_PROTOCOLS: Final[dict[str, PortProtocol]] = {"tcp": "tcp", "udp": "udp"}


def node_id(db: sqlite3.Connection, *, former: NodeId | None = None) -> NodeId:
    """Return the node's id; the first caller chooses it, and chooses the one that the node had before when that is known."""
    db.execute("INSERT OR IGNORE INTO meta VALUES ('node_id', ?)", (former or str(uuid.uuid4()),))
    return NodeId(db.execute("SELECT value FROM meta WHERE key = 'node_id'").fetchone()[0])


def known(repository: Path, db: sqlite3.Connection) -> Known:
    """Return what there is of one repository, as cheaply as can be: every opening asks."""
    row = db.execute("SELECT value FROM meta WHERE key = 'node_id'").fetchone()
    names = db.execute("SELECT name FROM claims WHERE repository = ?", (str(repository),))
    return Known(None if row is None else NodeId(row[0]), frozenset(name for (name,) in names))


def check(db: sqlite3.Connection) -> None:
    """Read every page and every row.

    Raises:
        sqlite3.DatabaseError: When a page is damaged.
        ValidationError: When a row makes no sense.
    """
    found: str = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        damage = sqlite3.DatabaseError(found)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage
    all_claims(None, db)
    all_leases(None, db)


def add_claim(claim: Claim, max_per_user: int | None, max_total: int | None, db: sqlite3.Connection) -> None:
    """Reserve a name, within the limits."""
    taken = db.execute(
        "SELECT id, user FROM claims WHERE (repository = :repository AND name = :name) OR id = :id", _claim_row(claim)
    ).fetchone()
    if taken is not None:
        raise AlreadyExists(
            f"workspace {claim.name!r} of {claim.repository} is registered already, by {taken['user']}",
            hint="choose another name, or destroy that workspace first",
            details={"name": claim.name, "id": taken["id"], "user": taken["user"]},
        )
    mine: int = db.execute("SELECT count(*) FROM claims WHERE user = ?", (claim.user,)).fetchone()[0]
    if max_per_user is not None and mine >= max_per_user:
        raise _quota(f"{claim.user} has {mine} workspaces", "max_workspaces_per_user", max_per_user, mine)
    total: int = db.execute("SELECT count(*) FROM claims").fetchone()[0]
    if max_total is not None and total >= max_total:
        raise _quota(f"this node has {total} workspaces", "max_workspaces_total", max_total, total)
    db.execute(_INSERT_CLAIM, _claim_row(claim))


def _quota(who: str, setting: str, limit: int, count: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"{who}, and no more than {limit} are allowed",
        hint=f"destroy a workspace that is not needed, or have limits.{setting} raised",
        details={"setting": setting, "limit": limit, "count": count},
    )


def remove_claim(workspace: str, db: sqlite3.Connection) -> None:
    """Give a name back."""
    db.execute("DELETE FROM claims WHERE id = ?", (workspace,))


def all_claims(repository: Path | None, db: sqlite3.Connection) -> tuple[Claim, ...]:
    """Return the claims of one repository or all."""
    if repository is None:
        rows = db.execute("SELECT * FROM claims ORDER BY repository, name")
    else:
        rows = db.execute("SELECT * FROM claims WHERE repository = ? ORDER BY name", (str(repository),))
    return tuple(Claim.model_validate(dict(row)) for row in rows)


def claim_of(repository: Path, name: str, db: sqlite3.Connection) -> Claim | None:
    """Return the claim of one name."""
    found = db.execute("SELECT * FROM claims WHERE repository = ? AND name = ?", (str(repository), name)).fetchone()
    return None if found is None else Claim.model_validate(dict(found))


def add_leases(owner: str, decide: Decision, drop: Sequence[PortKey], db: sqlite3.Connection) -> tuple[LeaseRow, ...]:
    """Release ``drop``, ask for a decision on what is left, and carry it out."""
    remove_dead_leases(db)
    db.executemany("DELETE FROM leases WHERE protocol = ? AND port = ? AND owner = ?", [(*key, owner) for key in drop])
    table = {
        (_PROTOCOLS[protocol], port): holder
        for protocol, port, holder in db.execute("SELECT protocol, port, owner FROM leases")
    }
    rows = tuple(decide(table))
    for row in rows:
        holder = table.get(row.key, row.owner)
        if holder != owner or row.owner != owner:
            raise PortInUse(
                f"port {row.port}/{row.protocol} is leased to {holder}", details={"port": row.port, "holder": holder}
            )
        db.execute(_PUT_LEASE, _lease_row(row))
    return rows


def all_leases(owner: str | None, db: sqlite3.Connection) -> tuple[LeaseRow, ...]:
    """Return the leases of one owner or all."""
    if owner is None:
        rows = db.execute("SELECT * FROM leases ORDER BY port, protocol")
    else:
        rows = db.execute("SELECT * FROM leases WHERE owner = ? ORDER BY port, protocol", (owner,))
    return tuple(map(_lease, rows))


def remove_leases(owner: str, ports: Sequence[int] | None, db: sqlite3.Connection) -> None:
    """Release ports of one owner."""
    if ports is None:
        db.execute("DELETE FROM leases WHERE owner = ?", (owner,))
    else:
        db.executemany("DELETE FROM leases WHERE owner = ? AND port = ?", [(owner, port) for port in ports])


def remove_dead_leases(db: sqlite3.Connection) -> tuple[LeaseRow, ...]:
    """Release the ports of programs that have ended."""
    identities = db.execute("SELECT DISTINCT pid, start_time, boot_id FROM leases WHERE pid IS NOT NULL").fetchall()
    gone = [tuple(row) for row in identities if not is_alive(ProcessState.model_validate(dict(row)))]
    rows = [
        row
        for identity in gone
        for row in db.execute(
            "DELETE FROM leases WHERE pid = ? AND start_time = ? AND boot_id = ? RETURNING *", identity
        ).fetchall()
    ]
    return tuple(sorted(map(_lease, rows), key=lambda lease: (lease.port, lease.protocol)))


def put_back(claims: Sequence[Claim], leases: Sequence[LeaseRow], db: sqlite3.Connection) -> RestoreReport:
    """Add the rows that are missing, and say which cannot be added."""
    conflicts: list[str] = []
    put_claims = put_leases = 0
    for claim in claims:
        put_claims += db.execute(_RESTORE_CLAIM, _claim_row(claim)).rowcount
        holder = db.execute(
            "SELECT id FROM claims WHERE repository = :repository AND name = :name", _claim_row(claim)
        ).fetchone()
        if holder is None or holder["id"] != claim.id:
            other = f"{claim.id} has another name" if holder is None else f"{holder['id']} has that name"
            conflicts.append(f"{claim.name!r} of {claim.repository} cannot be registered for {claim.id}: {other}")
    for lease in leases:
        put_leases += db.execute(_RESTORE_LEASE, _lease_row(lease)).rowcount
        owner: str = db.execute("SELECT owner FROM leases WHERE protocol = ? AND port = ?", lease.key).fetchone()[0]
        if owner != lease.owner:
            conflicts.append(f"port {lease.port}/{lease.protocol} cannot be leased to {lease.owner}: {owner} has it")
    return RestoreReport(claims=put_claims, leases=put_leases, conflicts=tuple(conflicts))


def _claim_row(claim: Claim) -> dict[str, str]:
    return {
        "id": claim.id,
        "name": claim.name,
        "repository": str(claim.repository),
        "user": claim.user,
        "backend": claim.backend,
        "created_at": claim.created_at.isoformat(),
    }


def _lease_row(lease: LeaseRow) -> dict[str, str | int | None]:
    process = lease.process
    return {
        "protocol": lease.protocol,
        "port": lease.port,
        "owner": lease.owner,
        "purpose": lease.purpose,
        "fixed": int(lease.fixed),
        "base": lease.base,
        "created_at": lease.created_at.isoformat(),
        "pid": None if process is None else process.pid,
        "start_time": None if process is None else process.start_time,
        "boot_id": None if process is None else process.boot_id,
    }


def _lease(row: sqlite3.Row) -> LeaseRow:
    values = dict(row)
    process = {key: values.pop(key) for key in ("pid", "start_time", "boot_id")}
    return LeaseRow.model_validate({**values, "process": None if process["pid"] is None else process})
