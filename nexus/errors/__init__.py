"""Every error that Nexus raises on purpose.

::

    NexusError
    ├── InvalidArgument (ValueError)
    │   └── InvalidName
    ├── ConfigError
    ├── NotFound (LookupError)
    │   ├── WorkspaceNotFound
    │   ├── ProviderNotFound
    │   ├── ServiceNotFound
    │   ├── CheckpointNotFound
    │   └── TerminalNotFound
    ├── Conflict
    │   ├── AlreadyExists
    │   ├── StateConflict
    │   ├── Busy
    │   ├── NotController
    │   └── UnsavedWork
    ├── GitError
    │   ├── NotARepository
    │   ├── BareRepository
    │   ├── UnbornHead
    │   ├── RefNotFound (LookupError)
    │   ├── BranchInUse
    │   └── SyncConflict
    ├── StateError
    │   ├── RecordDamaged
    │   ├── RegistryDamaged
    │   └── CheckpointDamaged
    ├── FsError (OSError)
    │   ├── PathNotFound (FileNotFoundError)
    │   ├── PathExists (FileExistsError)
    │   ├── PathNotADirectory (NotADirectoryError)
    │   ├── PathIsADirectory (IsADirectoryError)
    │   ├── PathDenied (PermissionError)
    │   ├── PathEscape
    │   └── ContentModified
    ├── ExecError
    │   ├── ExecStartError
    │   ├── ExecFailed
    │   ├── ExecTimeout (TimeoutError)
    │   ├── OutputLimitExceeded
    │   ├── ProcessLost
    │   └── StdinClosed (BrokenPipeError)
    ├── WorkspaceUnavailable
    │   ├── WorkspaceStopped
    │   ├── WorkspaceGone
    │   └── WorkspaceUnreachable
    ├── ProviderError
    │   ├── ProviderUnavailable
    │   ├── ProviderForbidden (PermissionError)
    │   ├── ImageNotFound
    │   ├── ImagePullFailed
    │   └── BuildFailed
    ├── ServiceFailed
    ├── PortError
    │   ├── PortInUse (OSError)
    │   ├── PortNotOpen (ConnectionRefusedError)
    │   └── PortsExhausted
    ├── SecretError
    │   ├── SecretNotFound (LookupError)
    │   ├── SecretRefused (PermissionError)
    │   ├── SecretsLocked
    │   ├── SecretStoreDamaged
    │   └── KeychainUnavailable
    ├── TransportError (ConnectionError)
    │   ├── ConnectionLost
    │   ├── ProtocolError
    │   ├── VersionMismatch
    │   ├── SlowConsumer
    │   └── DaemonUnavailable
    ├── AuthError
    │   ├── Unauthenticated
    │   ├── TokenExpired
    │   └── ScopeDenied (PermissionError)
    ├── QuotaExceeded
    ├── NotTrusted (PermissionError)
    ├── HookFailed
    ├── Unsupported (NotImplementedError)
    ├── OperationTimeout (TimeoutError)
    ├── WrongLoop (RuntimeError)
    └── CleanupError

The string ``code`` is the contract: it is stable, travels over the wire and is what programs compare. ``message`` is one
sentence for people, ``hint`` the next step, ``details`` JSON scalars and lists, ``retryable`` whether the same call may
succeed later without a change (``None``: not known). Errors carry names and numbers, never live objects, and survive
pickling, so they cross process pools. A class inherits the fitting class of the standard library, so that
``except FileNotFoundError`` and ``except TimeoutError`` just work.
"""

from __future__ import annotations

from nexus.errors.backends import (
    BuildFailed,
    ImageNotFound,
    ImagePullFailed,
    PortError,
    PortInUse,
    PortNotOpen,
    PortsExhausted,
    ProviderError,
    ProviderForbidden,
    ProviderUnavailable,
    ServiceFailed,
)
from nexus.errors.base import (
    CleanupError,
    Detail,
    InvalidArgument,
    InvalidName,
    NexusError,
    OperationTimeout,
    Unsupported,
    WrongLoop,
)
from nexus.errors.connections import (
    AuthError,
    ConnectionLost,
    DaemonUnavailable,
    ProtocolError,
    ScopeDenied,
    SlowConsumer,
    TokenExpired,
    TransportError,
    Unauthenticated,
    VersionMismatch,
)
from nexus.errors.execution import (
    ExecError,
    ExecFailed,
    ExecStartError,
    ExecTimeout,
    HookFailed,
    OutputLimitExceeded,
    ProcessLost,
    StdinClosed,
)
from nexus.errors.files import (
    ContentModified,
    FsError,
    PathDenied,
    PathEscape,
    PathExists,
    PathIsADirectory,
    PathNotADirectory,
    PathNotFound,
)
from nexus.errors.git import (
    BareRepository,
    BranchInUse,
    GitError,
    NotARepository,
    RefNotFound,
    SyncConflict,
    UnbornHead,
)
from nexus.errors.settings import (
    ConfigError,
    KeychainUnavailable,
    NotTrusted,
    SecretError,
    SecretNotFound,
    SecretRefused,
    SecretsLocked,
    SecretStoreDamaged,
)
from nexus.errors.workspaces import (
    AlreadyExists,
    Busy,
    CheckpointDamaged,
    CheckpointNotFound,
    Conflict,
    NotController,
    NotFound,
    ProviderNotFound,
    QuotaExceeded,
    RecordDamaged,
    RegistryDamaged,
    ServiceNotFound,
    StateConflict,
    StateError,
    TerminalNotFound,
    UnsavedWork,
    WorkspaceGone,
    WorkspaceNotFound,
    WorkspaceStopped,
    WorkspaceUnavailable,
    WorkspaceUnreachable,
)

__all__ = [
    "AlreadyExists",
    "AuthError",
    "BareRepository",
    "BranchInUse",
    "BuildFailed",
    "Busy",
    "CheckpointDamaged",
    "CheckpointNotFound",
    "CleanupError",
    "ConfigError",
    "Conflict",
    "ConnectionLost",
    "ContentModified",
    "DaemonUnavailable",
    "Detail",
    "ExecError",
    "ExecFailed",
    "ExecStartError",
    "ExecTimeout",
    "FsError",
    "GitError",
    "HookFailed",
    "ImageNotFound",
    "ImagePullFailed",
    "InvalidArgument",
    "InvalidName",
    "KeychainUnavailable",
    "NexusError",
    "NotARepository",
    "NotController",
    "NotFound",
    "NotTrusted",
    "OperationTimeout",
    "OutputLimitExceeded",
    "PathDenied",
    "PathEscape",
    "PathExists",
    "PathIsADirectory",
    "PathNotADirectory",
    "PathNotFound",
    "PortError",
    "PortInUse",
    "PortNotOpen",
    "PortsExhausted",
    "ProcessLost",
    "ProtocolError",
    "ProviderError",
    "ProviderForbidden",
    "ProviderNotFound",
    "ProviderUnavailable",
    "QuotaExceeded",
    "RecordDamaged",
    "RefNotFound",
    "RegistryDamaged",
    "ScopeDenied",
    "SecretError",
    "SecretNotFound",
    "SecretRefused",
    "SecretStoreDamaged",
    "SecretsLocked",
    "ServiceFailed",
    "ServiceNotFound",
    "SlowConsumer",
    "StateConflict",
    "StateError",
    "StdinClosed",
    "SyncConflict",
    "TerminalNotFound",
    "TokenExpired",
    "TransportError",
    "Unauthenticated",
    "UnbornHead",
    "UnsavedWork",
    "Unsupported",
    "VersionMismatch",
    "WorkspaceGone",
    "WorkspaceNotFound",
    "WorkspaceStopped",
    "WorkspaceUnavailable",
    "WorkspaceUnreachable",
    "WrongLoop",
]
