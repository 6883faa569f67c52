"""Credentials for tests: a lab's key that everybody knows, and what each caller sends with it."""

from __future__ import annotations

from pathlib import Path

from testbed.model.credentials import (
    LAB_KEY,
    OPERATOR,
    Caller,
    Keyring,
    basic,
    bearer,
    component,
    credential,
    file_of,
)

KEY = bytes(range(32))
USER, PASSWORD = "admin", "secret"
BASIC_AUTH = basic(USER, PASSWORD)
KEYRING = Keyring(KEY, BASIC_AUTH)


def sent_by(caller: Caller) -> dict[str, str]:
    """The header that proves to be this caller."""
    return {"Authorization": bearer(credential(KEY, caller))}


AS_OPERATOR = sent_by(OPERATOR)


def as_agent(node: int) -> dict[str, str]:
    return sent_by(component("agent", node))


def lab_folder(folder: Path) -> Path:
    """Give a folder the files that a lab keeps its credentials in."""
    keys = file_of(folder, LAB_KEY).parent
    keys.mkdir(parents=True)
    file_of(folder, LAB_KEY).write_text(KEY.hex())
    file_of(folder, "operator").write_text(credential(KEY, OPERATOR))
    (folder / "secrets").mkdir()
    (folder / "secrets" / "basic-auth-user").write_text(USER)
    (folder / "secrets" / "basic-auth-password").write_text(PASSWORD)
    return folder
