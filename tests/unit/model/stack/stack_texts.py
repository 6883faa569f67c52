"""A good stack.yaml with its surroundings, to be read as it is or with something changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from testbed.model.application import Application
from testbed.model.stack import stack_file

GATEWAY = "http://gateway.openfaas:8080/function"


class Folder:
    """The surroundings of a stack.yaml, without a disk."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def is_folder(self, path: str) -> bool:
        return any(file.startswith(f"{path}/") for file in self._files)

    def files(self, path: str) -> Sequence[str]:
        return [file.removeprefix(f"{path}/") for file in self._files if file.startswith(f"{path}/")]

    def read(self, path: str) -> str | None:
        return self._files.get(path)

    def languages(self) -> Mapping[str, Sequence[str]]:
        return {"python3-http": ["handler.py"], "other": []}


FOLDER = Folder(
    {
        "one/handler.py": "",
        "two/handler.py": "",
        "three/handler.py": "",
        "empty/readme.md": "",
        "more.yml": f"environment: {{NEXT: '{GATEWAY}/two', SIZE: 3}}",
        "bad.yml": "\nenvironment:\n  A: [1]\n",
        "none.yml": "values: {}",
        "broken.yml": "a: 'b",
        "shared/code.py": "",
        "mariadb.sql": "CREATE TABLE a (b INT);",
    }
)

GOOD = f"""
version: 1.0
provider:
  name: openfaas
  gateway: http://127.0.0.1:8080
functions:
  one:
    lang: python3-http
    handler: ./one
    image: one:latest
    environment:
      NEXT: {GATEWAY}/two/path?x=1
    annotations:
      directfaas/ingress: "true"
      directfaas/calls: "two"
  two:
    lang: python3-http
    handler: ./two
    image: two:latest
"""
"""The first line is empty, so that `version` stands in line 2 and function one in line 7."""


def parse(text: str, variables: Mapping[str, str] | None = None) -> Application:
    return stack_file.parse(text, variables or {}, FOLDER, file="app/stack.yaml", name="app")


def changed(old: str, new: str) -> str:
    """The good stack with one text replaced."""
    assert old in GOOD
    return GOOD.replace(old, new, 1)


TWO = "two:\n    lang: python3-http\n    handler: ./two\n    image: two:latest\n"
THREE = "  three:\n    lang: python3-http\n    handler: ./three\n    image: three:latest\n"

STORES = changed('directfaas/ingress: "true"', 'directfaas/ingress: "true"\n      directfaas/stores: STORES')
