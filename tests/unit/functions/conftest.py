"""One database server for all tests of functions that use one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.functions.mariadb_rig import MariaDb


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    server = MariaDb(tmp_path_factory.mktemp("db"))
    yield server
    server.stop()
