"""`app seed` and `app reset`: the same content in every namespace of an application, on a real MariaDB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from testbed.model import datastores
from testbed.model.cluster import ClusterState, Function
from testbed.model.errors import UsageError
from testbed.model.stack import stack_file
from testbed.platform.client import seeding
from testbed.platform.datastores import access
from tests.unit.functions.hello_retail.retail_rig import RETAIL
from tests.unit.functions.mariadb_rig import MariaDb

NAME = "hello_retail"


@pytest.fixture
def folder(database: MariaDb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A lab's state folder whose only namespace's database is the server; the database is empty."""

    def execute(state_folder: Path, namespace: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        assert (state_folder, namespace) == (tmp_path, "shop")
        return database.execute(statement, *values)

    monkeypatch.setattr(access, "execute", execute)
    monkeypatch.setattr(access, "run_script", execute)
    database.empty()
    return tmp_path


def photographers(database: MariaDb) -> list[str]:
    return [key for (key,) in database.execute("SELECT rowkey FROM photographerRegistry ORDER BY rowkey")]


def test_a_seed_has_as_many_photographers_as_asked_with_ids_of_one_length(database: MariaDb, folder: Path) -> None:
    for asked, first, last in ((1, "1", "1"), (9, "1", "9"), (10, "01", "10"), (1500, "0001", "1500")):
        seeding.seed(folder, "shop", seeding.seed_script(NAME, {"photographers": asked}))
        found = photographers(database)
        assert (len(found), found[0], found[-1]) == (asked, first, last)
    seeding.seed(folder, "shop", seeding.seed_script(NAME, {}))
    assert len(photographers(database)) == 100


def test_seeding_again_takes_away_what_was_there(database: MariaDb, folder: Path) -> None:
    script = seeding.seed_script(NAME, {"photographers": 3})
    seeding.seed(folder, "shop", script)
    before = database.contents(tuple(database.tables()))
    database.execute("DELETE FROM photographerRegistry; INSERT INTO storedPhotos VALUES ('1', '{}')")
    database.execute("CREATE TABLE other (x INT)")
    seeding.seed(folder, "shop", script)
    assert database.contents(tuple(database.tables())) == before
    assert len(before) == 7


def test_reset_leaves_what_the_first_deployment_makes(database: MariaDb, folder: Path) -> None:
    seeding.seed(folder, "shop", seeding.seed_script(NAME, {}))
    seeding.reset(folder, "shop")
    assert database.tables() == []
    first = datastores.script(folder, "shop", "mariadb")
    first.parent.mkdir(parents=True)
    first.write_text("CREATE TABLE ratings (id INT); INSERT INTO ratings VALUES (5);")
    for _ in range(2):
        seeding.reset(folder, "shop")
        assert database.contents(("ratings",)) == {"ratings": [(5,)]}


def test_a_seed_that_does_not_know_a_variable_and_an_application_without_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(UsageError, match=r"^application one has nothing to seed: there is no .*seed\.sql$"):
        seeding.seed_script("one", {}, tmp_path)
    (tmp_path / "one" / "seed.sql").write_text("SELECT 1;")
    assert seeding.seed_script("one", {}, tmp_path) == "SELECT 1;"
    with pytest.raises(UsageError, match=r"^application one has no photographers to seed; leave --photographers out$"):
        seeding.seed_script("one", {"photographers": 3}, tmp_path)


def cluster(**namespaces: tuple[str, ...]) -> ClusterState:
    """Namespaces with these functions of Hello, Retail!, or with "mariadb", the store."""
    images = {spec.name: spec.image for spec in stack_file.load(RETAIL / "stack.yaml", {}).functions}
    functions = {
        f"{name}.{namespace}": Function(
            namespace, name, 1, "10.0.0.1", images.get(name, "other:1"), 1, store=name == "mariadb"
        )
        for namespace, names in namespaces.items()
        for name in names
    }
    return ClusterState(functions=functions)


def test_all_namespaces_that_hold_the_application_and_a_database_are_found() -> None:
    application = stack_file.load(RETAIL / "stack.yaml", {})
    state = cluster(
        a=("photo-assign", "mariadb"), b=("photo-assign",), c=("chain-1", "mariadb"), d=("mariadb", "photo-record")
    )
    assert seeding.owners(application, state) == ["a", "d"]
    assert seeding.owners(application, state, ("d",)) == ["d"]
    with pytest.raises(
        UsageError, match=r"^namespace c does not hold application hello_retail; it is deployed in a, b, d$"
    ):
        seeding.owners(application, state, ("a", "c"))
    with pytest.raises(UsageError, match=r"^no namespace holds application hello_retail with a mariadb store; deploy"):
        seeding.owners(application, cluster(b=("photo-assign",)))
    with pytest.raises(
        UsageError, match=re.escape("namespace a does not hold application hello_retail; deploy it there first")
    ):
        seeding.owners(application, cluster(), ("a",))
