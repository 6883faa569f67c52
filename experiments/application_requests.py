"""The requests that an application's folder describes in its requests.yaml: what experiments may ask of it by name.

Reads and checks the description and makes bodies; sends nothing. functions/hello_retail/requests.yaml says
at its head what each key means.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from testbed.model.checkout import FUNCTIONS
from testbed.model.errors import UsageError


@dataclass(frozen=True)
class Request:
    """One request. Sizes are (smallest, largest) in bytes; None where they are not described.

    `body` is a JSON object, or None for a request without one. `after` is the request that must have been
    answered just before; `from_answer` gives the fields that are taken from its answer.
    """

    name: str
    function: str
    method: str = "POST"
    path: str = "/"
    status: int = 200
    measured: bool = False
    body: Mapping[str, Any] | None = None
    after: str = ""
    from_answer: Mapping[str, str] = field(default_factory=dict)
    random_base64: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    request_bytes: tuple[int, int] | None = None
    answer_bytes: tuple[int, int] | None = None

    def content(self, number: int = 0, previous: Any = None, seed: int = 0) -> bytes:
        """The body of the `number`-th request of its kind, as compact JSON; `previous` is the answer it follows.

        The same number and seed give the same bytes. Raises UsageError when the answer lacks a field.
        """
        if self.body is None:
            return b""
        value = dict(self.body)
        for key, where in self.from_answer.items():
            value[key] = _at(self.name, previous, where)
        for key, sizes in self.random_base64.items():
            chance = random.Random(f"{seed}/{self.name}/{key}/{number}")
            value[key] = base64.b64encode(chance.randbytes(sizes[number % len(sizes)])).decode()
        return json.dumps(value, separators=(",", ":")).encode()


def load(application: str, folder: Path = FUNCTIONS) -> dict[str, Request]:
    """The requests of an application by name, in the order of its file; UsageError says what is wrong with it."""
    file = folder / application / "requests.yaml"
    try:
        described = yaml.safe_load(file.read_text())["requests"]
        requests = {name: _request(name, entry) for name, entry in described.items()}
    except FileNotFoundError:
        raise UsageError(f'application "{application}" has no {file}; describe there what may be asked of it') from None
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{file} describes no requests ({error}); see functions/hello_retail/requests.yaml") from None
    for request in requests.values():
        if request.after and request.after not in requests:
            raise UsageError(f'{file}: {request.name} comes after "{request.after}", which is not there; mend its name')
    return requests


def measured(requests: Mapping[str, Request]) -> list[Request]:
    """The requests that an experiment measures, in their order: each after the one it depends on."""
    return [request for request in requests.values() if request.measured]


def _request(name: str, entry: Mapping[str, Any]) -> Request:
    pairs = {key: tuple(entry[key]) for key in ("request_bytes", "answer_bytes") if key in entry}
    sizes = {key: tuple(values) for key, values in entry.get("random_base64", {}).items()}
    return Request(name, **{**entry, **pairs, "random_base64": sizes})


def _at(name: str, answer: Any, where: str) -> Any:
    """The value at a dotted path of an answer."""
    value = answer
    for key in where.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise UsageError(f"{name} needs {where} of the answer before it, which has none; ask for that one first")
        value = value[key]
    return value
