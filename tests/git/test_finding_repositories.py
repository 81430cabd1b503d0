from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nexus.errors import BareRepository, GitError, NotARepository
from nexus.git import Worktrees, find_repository
from nexus.git import repository as module

from .conftest import REASON, Git
