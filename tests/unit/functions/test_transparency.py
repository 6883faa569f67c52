"""Applications are written for OpenFaaS: neither their code nor the templates know what runs them, or on which route.

The one thing that a stack file says to this testbed are its `directfaas/…` annotations.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from testbed.model import rewrite
from testbed.model.cluster import ClusterState, Function, Route
from testbed.model.stack import callees, stack_file
from testbed.platform.client.platform import Platform
from testbed.platform.images import build

CHECKOUT = Path(__file__).resolve().parents[3]
FUNCTIONS = CHECKOUT / "functions"
STACKS = sorted(FUNCTIONS.glob("*/stack*.yaml"))
OURS = ("testbed", "controllers", "experiments", "bench", "tests")
TELLTALE = re.compile(
    r"testbed|direct-?faas|\bvips?\b|virtual[ -]ip|\beips?\b|endpoint[ -]ip|openflow|open ?vswitch"
    r"|\bovs\b|mininet|\bsdn\b|\bryu\b|(?:gateway|direct)[ -]route|\bon (?:either|both|the direct) routes?\b"
    r"|\b10\.96\.\d|\b10\.2\d\d\.\d|\b172\.31\.\d",
    re.IGNORECASE,
)
"""What only somebody says who knows this testbed: its name, its addresses, its words for them."""
ANNOTATION = re.compile(r"^\s*directfaas/[a-z]+:", re.MULTILINE)


def code() -> list[Path]:
    """Every file that an image or a deployment is made of: handlers, what is copied beside them, templates, stacks."""
    inside = [path for path in FUNCTIONS.glob("*/*/**/*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted({*inside, *STACKS, *FUNCTIONS.glob("*/*.sql")})


def telltales(path: Path, text: str) -> list[str]:
    """The words in a file's text that give the testbed away; annotations' keys may, in a stack file."""
    if path.name.startswith("stack") and path.suffix == ".yaml":
        text = ANNOTATION.sub("", text)
    return [match.group() for match in TELLTALE.finditer(text)]


def imported(text: str) -> Iterator[str]:
    """The top names of the modules that Python code imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_there_is_code_to_look_at() -> None:
    suffixes = {path.suffix for path in code()}
    assert {".py", ".yaml", ".yml"} <= suffixes
    assert FUNCTIONS / "chain" / "chain" / "handler.py" in code()


def test_nothing_under_functions_mentions_what_runs_it() -> None:
    found = {str(path.relative_to(CHECKOUT)): telltales(path, path.read_text(errors="replace")) for path in code()}
    assert {path: words for path, words in found.items() if words} == {}


def test_nothing_under_functions_imports_ours() -> None:
    found = {
        str(path.relative_to(CHECKOUT)): sorted(set(imported(path.read_text())) & set(OURS))
        for path in code() if path.suffix == ".py"
    }  # fmt: skip
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("handler.py", "# calls the vIP of its callee", "vIP"),
        ("handler.js", "fetch('http://10.96.1.4:8080/')", "10.96.1"),
        ("handler.py", "if route == 'direct route': pass", "direct route"),
        ("stack.yaml", "environment: {MODE: directfaas}", "directfaas"),
        ("handler.rb", "directfaas/calls: b", "directfaas"),
        ("Handler.java", "// OpenFlow rows let this through", "OpenFlow"),
    ],
)
def test_a_telltale_is_seen(name: str, text: str, word: str) -> None:
    assert word in telltales(Path(name), text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stack.yaml", '      directfaas/calls: "b"\n'),
        ("handler.js", "app.route('/products')"),
        ("handler.py", "MAX_BYTES = 210.965"),
    ],
)
def test_what_any_user_writes_is_none(name: str, text: str) -> None:
    assert telltales(Path(name), text) == []


def test_an_import_of_ours_is_seen() -> None:
    assert set(imported("from testbed.model.cluster import Route\nimport bench.one, json\nfrom . import testbed")) == {
        "testbed", "bench", "json",
    }  # fmt: skip


def annotations(file: Path) -> set[str]:
    """The keys of ours anywhere in a stack file, by the place they stand in."""
    document = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text()))

    def walk(node: Any, place: Sequence[str]) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if "directfaas" in str(key):
                    yield "/".join((*place, str(key)))
                yield from walk(value, (*place, str(key)))
        elif isinstance(node, list):
            for value in node:
                yield from walk(value, place)

    return set(walk(document, ()))


@pytest.mark.parametrize("file", STACKS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_ours_are_annotations_of_functions_only(file: Path) -> None:
    found = annotations(file)
    assert found
    assert all(re.fullmatch(r"functions/[-a-z0-9]+/annotations/directfaas/[a-z]+", place) for place in found)


# One stack file, one set of handlers, both routes


@dataclass
class Control:
    """A control plane that takes everything and remembers it; functions get no instances, so none is waited for."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    state: ClusterState = field(default_factory=lambda: ClusterState(nodes=(1, 2, 3)))

    def request(self, method: str, url: str, json: Any = None, **_: Any) -> Any:
        if method == "PUT" and url.endswith("/system/functions"):
            self.bodies.append({key: value for key, value in json.items() if key != "namespace"})
        answers = {"/state": self.state.to_json(), "/version": {"applied": 0, "seen": 0, "switches": {}}}
        found = next((answer for end, answer in answers.items() if url.endswith(end)), [])
        if url.partition("?")[0].endswith(("/system/namespace/t", "/system/namespace/u")):
            found = {"name": "t"}
        return SimpleNamespace(status_code=200, text="", json=lambda: found, raise_for_status=lambda: None, ok=True)


@pytest.mark.parametrize("file", STACKS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_both_routes_are_given_the_same_functions(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    monkeypatch.setattr(build, "build", lambda application, *_: built.append(application))
    given: list[list[dict[str, Any]]] = []
    for namespace, route in (("t", Route.GATEWAY), ("u", Route.DIRECT)):
        control = Control()
        platform = Platform(SimpleNamespace(state_folder=tmp_path), credential="operator")
        monkeypatch.setattr(platform, "_session", control)
        platform.deploy(stack_file.load(file, {}), namespace, route)
        given.append(control.bodies)
    assert given[0] == given[1]
    assert built[0] == built[1]
    assert given[0]


@pytest.mark.parametrize("file", STACKS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_routes_differ_in_callee_urls_only(file: Path) -> None:
    application = stack_file.load(file, {})
    vips = {spec.name: Function("t", spec.name, 1, f"10.96.2.{n}", "", 1).vip
            for n, spec in enumerate(application.functions)}  # fmt: skip
    for spec in application.functions:
        for route in Route:
            rewrite.check(spec.name, "t", spec.environment, spec.calls, route)
        by_gateway = rewrite.environment(spec.environment, "t", Route.GATEWAY, vips)
        direct = rewrite.environment(spec.environment, "t", Route.DIRECT, vips)
        for variable, value in spec.environment.items():
            if not callees.parse(value):
                assert by_gateway[variable] == direct[variable] == value
            else:
                assert by_gateway[variable] != direct[variable]
