"""Which stores a testbed offers: data store and mail server, by name, with their ports and secrets. Pure.

A store is deployed with the application that names it, by the same machinery as a function, but it is none: nobody
invokes or scales it, and only the functions whose annotation names it may reach it. How one is started is
`testbed.platform.agent.stores`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.model.annotations import STORES_ANNOTATION
from testbed.model.errors import UsageError


@dataclass(frozen=True)
class StoreKind:
    """One kind of store. `secret` names what its owners prove themselves with ("": nothing).

    `greets` knows a ready server by the first bytes that it sends to whoever connects.
    """

    name: str
    port: int
    what: str
    greets: Callable[[bytes], bool]
    secret: str = ""


def _mysql_greets(first: bytes) -> bool:
    """A handshake of protocol version 10; an error (too many connections) has 255 in its place."""
    return first[4:5] == b"\x0a"


def _smtp_greets(first: bytes) -> bool:
    return first.startswith(b"220")


KINDS: Mapping[str, StoreKind] = {
    kind.name: kind
    for kind in (
        StoreKind("mariadb", 3306, "MariaDB server", _mysql_greets, "mariadb-password"),
        StoreKind("mail", 587, "mail server", _smtp_greets),
    )
}
"""Every kind by its name, which is also the host name that its owners use."""


def parse_stores(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The stores in a function's annotations, in their order; not judged (see `check`)."""
    return tuple(name.strip() for name in annotations.get(STORES_ANNOTATION, "").split(",") if name.strip())


def check(function: str, names: tuple[str, ...]) -> None:
    """Raise UsageError for a store that does not exist, or one that is named twice."""
    for name in names:
        if name not in KINDS:
            raise UsageError(f"function {function} names the store {name}; there are {', '.join(KINDS)}")
        if names.count(name) > 1:
            raise UsageError(f"function {function} names the store {name} twice; take one of them out")


def folder_of(state_folder: Path, namespace: str) -> Path:
    """Where the stores of a namespace have their folders."""
    return state_folder / "stores" / namespace


def folder(state_folder: Path, namespace: str, store: str) -> Path:
    """Where a store keeps its data: there as long as the store is, whatever becomes of its process."""
    return folder_of(state_folder, namespace) / store


def script(state_folder: Path, namespace: str, store: str) -> Path:
    """What is put into a store when it is made; the file may be missing."""
    return folder(state_folder, namespace, store).with_name(script_name(store))


def script_name(store: str) -> str:
    """The file beside a stack.yaml that says what is put into a store."""
    return f"{store}.sql"
