"""The contracts on imports in pyproject.toml hold, and each refuses what it forbids, written into a copy by hand.

What each is for stands here in a few imports; more follow from its terms, so that a name among them that has become
wrong, or a line that no longer bites, is seen too. The sizes of modules and packages are test_sizes.py's.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise, permutations, takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.house.sources import CHECKOUT, python_files

SETTINGS: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {contract["id"]: contract for contract in SETTINGS["contracts"]}
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
TYPES_ONLY = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import {}\n"

PURPOSE = {
    "whole": [
        ("testbed.model.cluster", "testbed.network.lab"),
        ("testbed.network.lab", "testbed.platform.client.bringup"),
        ("testbed.measure.cpu", "testbed.platform.common.prometheus"),
        ("testbed.platform.client.platform", "testbed.observe.matrix"),
        ("testbed.observe.matrix", "experiments.base"),
        ("experiments.base", "testbed.commands.common"),
        ("testbed.commands.common", "bench.report"),
    ],
    "acyclic": [
        ("testbed.model.errors", "testbed.model.cluster"),
        ("testbed.network.process.namespaces", "testbed.network.lab"),
        ("experiments.analysis.wire", "experiments.chain_results"),
    ],
    "platform": [
        ("testbed.platform.common.prometheus", "testbed.platform.images.build"),
        ("testbed.platform.images.build", "testbed.platform.datastores.mariadb"),
        ("testbed.platform.datastores.access", "testbed.platform.agent.probe"),
    ],
    "components": [
        ("testbed.platform.client.platform", "testbed.platform.apiserver.process"),
        ("testbed.platform.agent.keeper", "testbed.platform.client.lab_http"),
        ("testbed.platform.apiserver.process", "testbed.platform.scaler.metric"),
        ("testbed.platform.gateway.process", "testbed.platform.apiserver.process"),
        ("testbed.platform.scaler.engine", "testbed.platform.gateway.config"),
    ],
    "gateway": [
        ("testbed.platform.gateway.http.exchange", "testbed.platform.gateway.service.routes"),
        ("testbed.platform.gateway.service.routes", "testbed.platform.gateway.lifecycle"),
    ],
    "network": [
        ("testbed.network.process.namespaces", "testbed.network.switching.node"),
        ("testbed.network.switching.ovsdb", "testbed.network.hosts.netlink"),
        ("testbed.network.hosts.sandboxes", "testbed.network.cluster"),
    ],
    "model": [
        ("testbed.model.cluster", "testbed.model.stack.callees"),
        ("testbed.model.quantities", "testbed.model.scaling.settings"),
    ],
    "controllers-below": [("controllers.intents", "testbed.platform.common.prometheus")],
    "controllers-users": [("testbed.network.lab", "controllers.rows"), ("experiments.base", "controllers.simulator")],
    "controllers-words": [("testbed.observe", "controllers.switch"), ("bench.subject", "controllers.sdn")],
    "controllers": [
        ("controllers.rows", "controllers.intents"),
        ("controllers.policy.rules", "controllers.desired.balance"),
        ("controllers.desired.generator", "controllers.hold.machine"),
        ("controllers.hold.machine", "controllers.switch.reconcile"),
        ("controllers.switch.reconcile", "controllers.hold.effects"),
        ("controllers.hold.effects", "controllers.northbound.explain"),
    ],
    "ryu": [("controllers.directfaas", "ryu"), ("bench.subject", "ryu")],
    "pure": [
        ("testbed.model.cluster", "socket"),
        ("controllers.hold.machine", "controllers.sdn"),
        ("controllers.desired.generator", "time"),
        ("testbed.observe.drawing.svg", "subprocess"),
        ("experiments.analysis.wire", "asyncio"),
    ],
    "analysis": [("experiments.analysis.wire", "experiments.load.plan")],
    "bench": [("bench.rigs.client", "bench.subjects.gateway"), ("bench.budgets", "bench.outcome")],
}
"""What each contract is there for, in imports that it must refuse whatever its terms have become."""


def members(layer: str) -> list[str]:
    """The names in one line of a layers contract."""
    return [name.strip() for name in layer.replace("|", ":").split(":")]


def layered(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """From each layer to the one above it, from the lowest to the highest, and between neighbours that are apart."""
    for container in contract.get("containers", [""]):
        prefix = f"{container}." if container else ""
        layers = [[prefix + name for name in members(layer)] for layer in contract["layers"]]
        yield layers[-1][0], layers[0][0]
        yield from ((lower[0], upper[-1]) for upper, lower in pairwise(layers))
        for text, names in zip(contract["layers"], layers, strict=True):
            if "|" in text:
                yield from permutations(names, 2)


def forbidden(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each source with the first of what is forbidden, and each of that with the first source."""
    sources, targets = contract["source_modules"], contract["forbidden_modules"]
    yield from ((source, targets[0]) for source in sources)
    yield from ((sources[0], target) for target in targets[1:])


def refused_imports(name: str) -> list[tuple[str, str]]:
    """(importer, imported) pairs that a contract forbids."""
    contract, found = CONTRACTS[name], list(PURPOSE[name])
    if contract["type"] == "layers":
        found += layered(contract)
    if contract["type"] == "forbidden":
        found += forbidden(contract)
    if contract["type"] == "independence":
        found += permutations(contract["modules"], 2)
    return sorted(set(found))


REFUSED = [(name, importer, imported) for name in PURPOSE for importer, imported in refused_imports(name)]
EXHAUSTIVE = [
    (name, container) for name, contract in CONTRACTS.items() if contract.get("exhaustive")
    for container in contract["containers"]
]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and the contracts, to write forbidden imports into."""
    folder = tmp_path_factory.mktemp("house")
    for path in python_files(*SETTINGS["root_packages"]):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / path, folder / path)
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    return folder


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", *options], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "300"},
    )  # fmt: skip


def file_of(folder: Path, module: str) -> Path:
    path = folder.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def said_of(contract: str, importer: str, imported: str) -> str:
    """How the report of a broken contract names an import, or the package that has a circle."""
    if CONTRACTS[contract]["type"] != "acyclic_siblings":
        return f"{importer} -> {imported} ("
    both = zip(importer.split("."), imported.split("."), strict=False)
    return f"No cycles are allowed in {'.'.join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], both))}."


def assert_refused(folder: Path, path: Path, text: str, contract: str, said: str) -> None:
    """With this text at its end, or as a new file, `path` breaks the contract, and the report says so."""
    before = path.read_text() if path.exists() else None
    path.write_text((before or "") + text)
    try:
        result = lint(folder, "--contract", contract)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
    assert f"{CONTRACTS[contract]['name']} BROKEN" in result.stdout, result.stdout[-3000:]
    assert said in result.stdout, result.stdout[-3000:]
    assert result.returncode == 1


def test_the_house_as_it_is_keeps_every_contract(copy: Path) -> None:
    result = lint(copy)
    assert f"{len(CONTRACTS)} kept, 0 broken" in result.stdout, result.stdout[-3000:]
    assert result.returncode == 0


def test_every_contract_is_there_and_says_what_for() -> None:
    assert list(PURPOSE) == [contract["id"] for contract in SETTINGS["contracts"]]


@pytest.mark.parametrize(("contract", "importer", "imported"), REFUSED)
def test_an_import_that_is_added_by_hand_is_refused(copy: Path, contract: str, importer: str, imported: str) -> None:
    path = file_of(copy, importer)
    assert path.exists(), "the importer is no module any more"
    assert_refused(copy, path, f"\nimport {imported}\n", contract, said_of(contract, importer, imported))


@pytest.mark.parametrize("contract", ["acyclic", "whole"])
def test_an_import_for_types_alone_is_one(copy: Path, contract: str) -> None:
    importer, imported = refused_imports(contract)[0]
    text, said = TYPES_ONLY.format(imported), said_of(contract, importer, imported)
    assert_refused(copy, file_of(copy, importer), text, contract, said)


@pytest.mark.parametrize(("contract", "container"), EXHAUSTIVE)
def test_a_new_module_is_given_its_layer(copy: Path, contract: str, container: str) -> None:
    assert_refused(copy, file_of(copy, f"{container}.stranger"), "", contract, f"{container}.stranger")


def test_every_room_of_the_testbed_has_its_layer() -> None:
    placed = {name for layer in CONTRACTS["whole"]["layers"] for name in members(layer)}
    rooms = {f"testbed.{path.parts[1].removesuffix('.py')}" for path in python_files("testbed")} - {"testbed.__init__"}
    assert rooms == {name for name in placed if name.startswith("testbed.")}


# What import-linter does not look at


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it: whole names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((CHECKOUT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def top(module: str) -> str:
    return module.partition(".")[0]


def test_no_file_but_one_imports_ryu() -> None:
    """Tests and exercises neither, which no contract is about."""
    assert [str(path) for path in python_files() if "ryu" in map(top, imported(path))] == ["controllers/sdn.py"]


def test_a_page_imports_nothing_of_ours() -> None:
    """Or importing one module would load its neighbours, and a circle would go through the page."""
    pages = [path for path in python_files(*SETTINGS["root_packages"]) if path.name == "__init__.py"]
    assert pages
    assert [page for page in pages if {*map(top, imported(page))} & set(SETTINGS["root_packages"])] == []
