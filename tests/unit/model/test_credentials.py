"""Credentials: whose they are, what they are worth changed, and that a namespace's ends with it."""

from __future__ import annotations

import pytest

from testbed.model.cluster import Deployment
from testbed.model.credentials import (
    OPERATOR,
    Caller,
    Keyring,
    Kind,
    basic,
    bearer,
    component,
    credential,
    namespace,
    verify,
)
from testbed.model.errors import EnvironmentProblem

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
TENANT = Deployment("tenant-a", id=32_768, born=7)
CALLERS = [OPERATOR, component("scaler"), component("agent", 2), namespace(TENANT)]


@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_a_credential_is_its_owners_and_no_other_labs(caller: Caller) -> None:
    text = credential(KEY, caller)
    assert verify(KEY, text) == caller
    assert verify(OTHER_KEY, text) is None


@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_nothing_of_it_can_be_changed(caller: Caller) -> None:
    text = credential(KEY, caller)
    claim, _, mac = text.rpartition(".")
    changed = [
        *(credential(KEY, other).rpartition(".")[0] + f".{mac}" for other in CALLERS if other != caller),
        *(f"{claim}x.{mac}", f"{claim}.{mac[:-1]}", f"{claim}.{mac}0", f"{claim}.", claim, mac, "", ".", "...."),
        *(f"{claim}.{mac.upper()}", f"{claim}.{mac}\udcff", f"\udcff{text}"),
    ]
    assert [one for one in changed if verify(KEY, one) is not None and one != text] == []


def test_a_name_cannot_pose_as_another_part() -> None:
    for name in ("a.7", "A", "a b", "ä"):
        with pytest.raises(ValueError, match="is no name"):
            credential(KEY, Caller(Kind.NAMESPACE, name, 1))


def test_a_namespaces_credential_ends_with_it() -> None:
    keyring = Keyring(KEY)
    sent = bearer(credential(KEY, namespace(TENANT)))
    assert keyring.caller(sent, {"tenant-a": TENANT}) == namespace(TENANT)
    assert keyring.caller(sent, {}) is None
    later = Deployment("tenant-a", id=32_768, born=12)  # a later one of the same name, and even of the same number
    assert keyring.caller(sent, {"tenant-a": later}) is None


def test_a_namespace_of_which_nobody_says_when_it_came_has_none() -> None:
    unborn = Deployment("tenant-a")
    assert Keyring(KEY).caller(bearer(credential(KEY, namespace(unborn))), {"tenant-a": unborn}) is None


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer ", "Basic", "Basic ", "Digest x", "Bearer\udcff x"])
def test_what_is_no_credential_is_nobodys(given: str | None) -> None:
    assert Keyring(KEY, basic("admin", "secret")).caller(given, {}) is None
    assert Keyring(KEY).caller(given, {}) is None


def test_basic_auth_is_the_operator_where_it_is_accepted() -> None:
    accepting = Keyring(KEY, basic("admin", "secret"))
    assert accepting.caller(basic("admin", "secret"), {}) == OPERATOR
    assert accepting.caller(basic("admin", "secret").replace("Basic", "basic"), {}) == OPERATOR
    assert accepting.caller(basic("admin", "other"), {}) is None
    assert Keyring(KEY).caller(basic("admin", "secret"), {}) is None
    assert accepting.caller("Bearer " + basic("admin", "secret").split()[1], {}) is None


@pytest.mark.parametrize("key", [b"", b"k" * 31])
def test_a_key_that_could_be_guessed_is_none(key: bytes) -> None:
    with pytest.raises(EnvironmentProblem, match="the lab's key has"):
        Keyring(key)
