"""What the tests of the lab kernel share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def ordinary_folder() -> Iterator[Path]:
    """A folder of an ordinary user's, with a space in its name, that this user can reach."""
    with tempfile.TemporaryDirectory(prefix="lab kernel ", dir="/var/tmp") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, NOBODY, NOBODY)
        yield folder
