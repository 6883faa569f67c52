"""A function or namespace that nobody has is refused by every verb, with the names that may have been meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from testbed.commands import coldstarts_verb, logs_verb, scaler_verb
from testbed.model.cluster import ClusterState, Deployment, Function
from testbed.model.errors import PlatformError, UsageError
from testbed.platform.client import lookup

FUNCTIONS = ("chain-1.a", "chain-1.b", "chain-2.a", "photo-request.shop")
STATE = ClusterState(
    deployments={name: Deployment(name) for name in ("tenant-a", "shop")},
    functions={one: Function(*reversed(one.split(".")), 256, "10.96.1.0", "", 1) for one in FUNCTIONS},
)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("chain-1", "did you mean chain-1.a or chain-1.b?"),
        ("photo-reqest.shop", "did you mean photo-request.shop?"),
        ("zoo.zoo", "`testbed status` lists functions"),
    ],
    ids=["namespace left out", "misspelt", "nothing like it"],
)
def test_an_unknown_function_is_answered_by_near_ones(asked: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        lookup.function_named(STATE, asked)
    assert str(refused.value) == f"there is no function {lookup.full_name(asked)}; {hint}"


def test_a_function_that_is_there_is_completed() -> None:
    state = ClusterState(functions={"f.openfaas-fn": Function("openfaas-fn", "f", 256, "10.96.1.0", "", 1)})
    assert lookup.function_named(state, "f") == lookup.function_named(state, "f.openfaas-fn") == "f.openfaas-fn"


def test_an_unknown_namespace_is_answered_by_near_ones() -> None:
    assert lookup.namespace_named(STATE, "shop") == "shop"
    with pytest.raises(UsageError, match=r"^there is no namespace tenant-aa; did you mean tenant-a\?$"):
        lookup.namespace_named(STATE, "tenant-aa")


class Platform:
    """Knows the functions above, and no log."""

    provider = SimpleNamespace(logs=None)

    def __init__(self) -> None:
        def logs(*_: Any, **__: Any) -> Any:
            raise PlatformError("there is no log")

        self.provider = SimpleNamespace(logs=logs)

    def state(self) -> ClusterState:
        return STATE

    def ask_scaler(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(text="", json=dict)

    def cold_starts(self) -> list[Any]:
        return []

    latencies = cold_starts


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for verb in (coldstarts_verb, logs_verb, scaler_verb):
        monkeypatch.setattr(verb, "platform_of", lambda _: Platform())
        monkeypatch.setattr(verb.Lab, "attach", lambda _: SimpleNamespace(state_folder=tmp_path))


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        (scaler_verb, []),
        (scaler_verb, ["--follow"]),
        (scaler_verb, ["--settings"]),
        (scaler_verb, ["--json"]),
        (coldstarts_verb, []),
        (coldstarts_verb, ["--json"]),
        (logs_verb, []),
    ],
)
def test_verbs_that_would_print_nothing_say_so(verb: Any, arguments: list[str]) -> None:
    said = CliRunner().invoke(verb.command, ["chain-3.a", *arguments])
    assert isinstance(said.exception, UsageError)
    assert str(said.exception) == "there is no function chain-3.a; did you mean chain-2.a or chain-1.a or chain-1.b?"
    assert said.stdout == ""


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("verb", [scaler_verb, coldstarts_verb])
def test_a_function_of_which_nothing_is_known_yet_is_no_mistake(verb: Any) -> None:
    assert CliRunner().invoke(verb.command, ["chain-1.a"]).exit_code == 0
