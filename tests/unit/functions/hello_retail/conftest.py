"""The shop that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.functions.hello_retail.retail_rig import Shop, shop
from tests.unit.functions.mariadb_rig import MariaDb


@pytest.fixture(scope="module")
def running(database: MariaDb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), database) as started:
        yield started


@pytest.fixture
def retail(running: Shop) -> Shop:
    """The shop with nine free photographers."""
    running.seed()
    running.gateway.before.clear()
    running.mailbox.mails.clear()
    return running
