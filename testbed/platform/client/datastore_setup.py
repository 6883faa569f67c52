"""What `deploy` does for the stores that an application names: passwords, first contents; the apiserver makes them.

It starts no process and waits for none.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from testbed.model import datastores
from testbed.model.application import Application
from testbed.model.cluster import Function
from testbed.model.errors import EnvironmentProblem, PlatformError
from testbed.network.process import clearing
from testbed.platform.client.tenant import ProviderClient
from testbed.platform.datastores import mariadb

_PASSWORD_BYTES = 18


def check(application: Application) -> None:
    """Raise EnvironmentProblem when this machine lacks what a store needs: said before anything is deployed."""
    if "mariadb" in application.stores():
        mariadb.server()


def prepare(
    application: Application,
    namespace: str,
    state_folder: Path,
    provider: ProviderClient,
    functions: Mapping[str, Function],
) -> None:
    """Give the namespace a random password and a script for each store that lacks them. `functions`: those there are.

    Raises PlatformError where a store is there that was made with another script.
    """
    known = provider.secrets(namespace)
    for name in application.stores():
        secret = datastores.KINDS[name].secret
        if secret and secret not in known:
            provider.create_secret(secret, namespace, secrets.token_urlsafe(_PASSWORD_BYTES).encode())
        file, text = datastores.script(state_folder, namespace, name), application.scripts.get(name, "")
        store = functions.get(f"{name}.{namespace}")
        if store is None or not store.replicas:  # the latter: it is being removed, and will be made anew
            _write(file, text)
        elif _read(file) != text:
            raise PlatformError(
                f"namespace {namespace} has a store {name} that was made with another "
                f"{datastores.script_name(name)} than "
                f"that of {application.name}; remove it first: testbed remove --namespace {namespace}"
            )


def clear(state_folder: Path, namespace: str) -> None:
    """Nothing of the stores of a namespace that is gone is left."""
    clearing.remove(datastores.folder_of(state_folder, namespace))


def _read(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _write(file: Path, text: str) -> None:
    try:
        file.unlink(missing_ok=True)
        if text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    except OSError as error:
        raise EnvironmentProblem(
            f"{file} could not be written: {error.strerror}; make room there and deploy again"
        ) from error
