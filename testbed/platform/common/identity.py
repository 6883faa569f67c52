"""A component's own credential, and the keys with which a server checks those of others: files that only root reads.

Who may order what is decided in `testbed.model.audiences`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from testbed.model.credentials import BASIC_AUTH_FILES, CREDENTIAL_VARIABLE, Keyring, basic
from testbed.model.errors import EnvironmentProblem


def own_credential(environment: Mapping[str, str] = os.environ) -> str:
    """The credential of this process, "" where it was given none; then nobody answers it."""
    file = environment.get(CREDENTIAL_VARIABLE)
    return read(Path(file)) if file else ""


def keyring(lab_key: Path, basic_auth: Path | None = None) -> Keyring:
    """The lab's key; with it, user and password of OpenFaaS's own interface from the folder `basic_auth`."""
    key = bytes.fromhex(read(lab_key))
    if basic_auth is None:
        return Keyring(key)
    user, password = (read(basic_auth / name) for name in BASIC_AUTH_FILES)
    return Keyring(key, basic(user, password))


def read(file: Path) -> str:
    """A credential or key; EnvironmentProblem where it cannot be read."""
    try:
        return file.read_text().strip()
    except OSError as error:
        raise EnvironmentProblem(
            f"{file} cannot be read ({error.strerror}); the lab makes it when it starts"
        ) from error
