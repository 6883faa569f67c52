"""The node agent's stores, and those who own them."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from testbed.model import addressing
from testbed.model.cluster import Function, Instance, Phase
from testbed.platform.agent import keeper, stores
from testbed.platform.agent.launch import GATEWAY_LINE
from tests.unit.platform.agent.agent_rig import Bench, until

STORE = Instance("mail.t.1", "t", "mail", 2, "10.202.0.9")


@pytest.fixture
def owner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The function owns a store, whose process is one that sleeps."""
    monkeypatch.setattr(stores, "command_line", lambda store, has_script: ("sleep", "1000"))
    # Nobody but root gives folders away.
    monkeypatch.setattr(addressing, "user_id", lambda lab, address: os.geteuid())
    monkeypatch.setattr(keeper, "greets", lambda netns, port, greeting, timeout_s: port == 587)
    mail = Function("t", "mail", 257, "10.96.1.1", "", 1, port=587, store=True)
    one = replace(bench.state.functions["one.t"], stores=("mail",))
    bench.state = replace(bench.state, functions={"one.t": one, "mail.t": mail})
    (bench.folder / "stores" / "t" / "mail").mkdir(parents=True)
    return bench


def test_a_function_starts_when_its_stores_are_ready_and_finds_them_by_name(owner: Bench) -> None:
    owner.tell(owner.instance(), STORE)
    owner.await_diary("mail.t.1 Ready")
    assert "one.t.1 Ready" not in owner.world.diary
    owner.tell(owner.instance(), replace(STORE, phase=Phase.READY))
    owner.await_diary("one.t.1 Ready")
    place = owner.world.places[-1]
    assert (place.name, place.address) == ("one.t.1", "10.202.0.1")
    assert place.names == (GATEWAY_LINE, "10.96.1.1\tmail mail.t")
    assert "stores/mail.t.1 None None" in owner.world.groups


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.NOT_READY, Phase.DRAINING])
def test_an_owner_is_not_told_of_a_store_that_is_not_ready(owner: Bench, phase: Phase) -> None:
    one = owner.state.functions["one.t"]
    ready = replace(owner.state, instances={STORE.id: replace(STORE, phase=Phase.READY)})
    assert stores.names(one, ready) == ("10.96.1.1\tmail mail.t",)
    state = replace(owner.state, instances={STORE.id: replace(STORE, phase=phase)})
    with pytest.raises(stores.StoreNotReady, match=r"the store mail\.t is not ready yet"):
        stores.names(one, state)


def test_a_crash_leaves_a_stores_data_and_its_removal_does_not(owner: Bench) -> None:
    data = owner.folder / "stores" / "t" / "mail"
    owner.tell(STORE)
    owner.await_diary("mail.t.1 Ready")
    os.kill(owner.pid("mail.t.1"), 9)
    until(lambda: owner.world.diary.count("mail.t.1 Ready") == 2, "it is ready again")
    assert data.is_dir()
    owner.world.connections = 1000
    owner.tell(replace(STORE, phase=Phase.DRAINING))
    owner.await_diary("delete mail.t.1")
    assert not data.exists()
    assert not [entry for entry in owner.world.diary if entry.startswith("connections")]  # nobody is waited for


def test_a_store_that_went_while_the_agent_was_away_leaves_no_data(owner: Bench) -> None:
    owner.tell(STORE)
    owner.await_diary("mail.t.1 Ready")
    owner.new_agent()
    owner.tell()
    assert not (owner.folder / "stores" / "t" / "mail").exists()


def test_a_stores_process_starts_again_for_another_revision(owner: Bench) -> None:
    owner.tell(STORE)
    owner.await_diary("mail.t.1 Ready")
    first = owner.pid("mail.t.1")
    owner.tell(replace(STORE, phase=Phase.READY, revision=2))
    until(lambda: owner.pid("mail.t.1") != first, "there is another process")
    assert "mail.t.1 NotReady" not in owner.world.diary
    assert (owner.folder / "stores" / "t" / "mail").is_dir()
