"""Secrets by namespace and name, kept in the database and given to nobody but the node agent of an instance.

A secret's value is in the database's file and in no event, error or log. A changed value gives every
function that names the secret a new revision, so that its instances are replaced one by one: what an
instance reads stays the same for its whole life, however and whenever its code reads it, and nothing
but the watch has to be followed. (Kubernetes rewrites mounted files instead; a function that reads its
secret once, at its start, then goes on with the old value until somebody restarts it.)
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace

from testbed.model.annotations import GATEWAY_TOKEN
from testbed.model.cluster import Function
from testbed.model.errors import PlatformError
from testbed.platform.apiserver.ledger import Ledger
from testbed.platform.apiserver.validation import SecretRequest

SECRET = "secret"
"""The kind of the documents that hold values."""


class NotFound(PlatformError):
    """There is no such function, instance, secret or namespace."""


class Conflict(PlatformError):
    """The object exists already, or its present state does not allow the change."""


class SecretKeeper:
    """The secrets of one ledger.

    Within the transaction, `renew` gives a function a new revision and `make_namespace` makes one with route gateway.
    """

    def __init__(
        self, ledger: Ledger, renew: Callable[[Function], None], make_namespace: Callable[[str], None]
    ) -> None:
        self._ledger = ledger
        self._renew = renew
        self._make_namespace = make_namespace

    def names(self, namespace: str) -> list[str]:
        """The names of a namespace's secrets, sorted."""
        return sorted(self._values(namespace))

    def create(self, secret: SecretRequest) -> None:
        """Keep a new secret; a namespace that does not exist is made, with route gateway."""
        with self._ledger.transaction():
            if secret.name in self._values(secret.namespace):
                raise Conflict(f"secret {secret.name} of namespace {secret.namespace} exists already; update it")
            if secret.namespace not in self._ledger.state.deployments:
                self._make_namespace(secret.namespace)
            self._keep(secret)

    def update(self, secret: SecretRequest) -> None:
        """Give a secret another value."""
        with self._ledger.transaction():
            if self._value(secret.namespace, secret.name) != secret.value:
                self._keep(secret)

    def remove(self, namespace: str, name: str) -> None:
        """Forget a secret. Instances that run keep it; one that starts later and names it cannot start."""
        with self._ledger.transaction():
            self._value(namespace, name)
            self._ledger.database.drop(SECRET, f"{namespace}/{name}")
            if name == GATEWAY_TOKEN:
                self._set_token_revision(namespace, 0)

    def forget(self, namespace: str) -> None:
        """Forget all secrets of a namespace that is being removed; within its transaction."""
        for name in self.names(namespace):
            self._ledger.database.drop(SECRET, f"{namespace}/{name}")
        self._set_token_revision(namespace, 0)

    def of_function(self, function: Function) -> dict[str, str]:
        """The secrets that an instance of this function reads: name -> base64. Conflict while one is missing."""
        values = self._values(function.namespace)
        missing = [name for name in function.secrets if name not in values]
        if missing:
            raise Conflict(
                f"secret {missing[0]} of function {function.full_name} was removed; create it in namespace "
                f"{function.namespace} again"
            )
        return {name: values[name] for name in function.secrets}

    def token_digests(self) -> dict[str, str]:
        """Namespace -> SHA-256 of its token, in hexadecimal, for namespaces that have one."""
        tokens = {namespace: self._values(namespace).get(GATEWAY_TOKEN) for namespace in self._ledger.state.deployments}
        return {
            namespace: hashlib.sha256(b64decode(token).strip()).hexdigest()
            for namespace, token in tokens.items()
            if token is not None
        }

    def _values(self, namespace: str) -> dict[str, str]:
        prefix = f"{namespace}/"
        secrets = self._ledger.database.all(SECRET)
        return {key.removeprefix(prefix): value for key, value in secrets.items() if key.startswith(prefix)}

    def _value(self, namespace: str, name: str) -> str:
        values = self._values(namespace)
        if name not in values:
            raise NotFound(f"there is no secret {name} in namespace {namespace}")
        return values[name]

    def _keep(self, secret: SecretRequest) -> None:
        self._ledger.database.put(SECRET, f"{secret.namespace}/{secret.name}", secret.value)
        if secret.name == GATEWAY_TOKEN:
            serial = self._ledger.counter(f"token {secret.namespace}", 0) + 1
            self._ledger.count(f"token {secret.namespace}", serial)
            self._set_token_revision(secret.namespace, serial)
        for function in list(self._ledger.state.functions.values()):
            if function.namespace == secret.namespace and secret.name in function.secrets and function.replicas:
                self._renew(function)

    def _set_token_revision(self, namespace: str, revision: int) -> None:
        deployment = self._ledger.state.deployments[namespace]
        if deployment.token_revision != revision:
            self._ledger.put("deployment", replace(deployment, token_revision=revision))
