"""The keys of a stack.yaml's function that say what it runs with: secrets, limits, requests, constraints; and copies.

Each mistake is named by file and line. `stack_file` reads the rest of the file. Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from testbed.model import quantities
from testbed.model.application import is_secret_name
from testbed.model.errors import UsageError
from testbed.model.placement import constrained_node
from testbed.model.stack.surroundings import Surroundings
from testbed.model.stack.yaml_nodes import YamlReader

Keys = Mapping[str, tuple[yaml.Node, yaml.Node]]


@dataclass(frozen=True)
class RunKeys:
    """These keys' values, as `FunctionSpec` has them."""

    secrets: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    read_only_root_filesystem: bool = False


def read(reader: YamlReader, name: str, keys: Keys) -> RunKeys:
    """What the keys of function `name` say; raises StackError for the first mistake."""
    return RunKeys(
        _secrets(reader, name, keys),
        _resources(reader, name, keys, "limits"),
        _resources(reader, name, keys, "requests"),
        _constraints(reader, name, keys),
        _read_only(reader, name, keys),
    )


def copied(reader: YamlReader, configuration: yaml.Node, surroundings: Surroundings) -> tuple[str, ...]:
    """The folders under `copy` of a stack.yaml's configuration, each inside the file's own; else StackError."""
    keys = reader.mapping(configuration, "configuration")
    found = reader.items(keys["copy"][1], "copy of the configuration") if "copy" in keys else []
    paths = {posixpath.normpath(one.text): one for one in found}
    for path, one in paths.items():
        if path in (".", "..") or path.startswith(("../", "/")):
            reader.fail(one.node, f"{one.text} is not a folder under this file's own; copy one that is")
        if not surroundings.is_folder(path):
            reader.fail(one.node, f"the folder {one.text} to copy is missing; make it or mend the path")
    return tuple(paths)


def _secrets(reader: YamlReader, name: str, keys: Keys) -> tuple[str, ...]:
    if "secrets" not in keys:
        return ()
    found = reader.items(keys["secrets"][1], f"secrets of function {name}")
    for index, one in enumerate(found):
        if not is_secret_name(one.text):
            reader.fail(
                one.node,
                f'function {name}: "{one.text}" cannot name a secret; use lower-case letters, digits, "-" and ".", a '
                "letter or digit at both ends",
            )
        if one.text in [other.text for other in found[:index]]:
            reader.fail(one.node, f"function {name} names the secret {one.text} twice; take one of them out")
    return tuple(one.text for one in found)


def _resources(reader: YamlReader, name: str, keys: Keys, key: str) -> dict[str, str]:
    if key not in keys:
        return {}
    found = reader.texts(keys[key][1], f"{key} of function {name}")
    for resource, value in found.items():
        try:
            quantities.parse_limits({resource: value.text})
        except UsageError as error:
            reader.fail(value.node, f"function {name}: {key} are wrong: {error}")
    return {resource: value.text for resource, value in found.items() if value.text}


def _constraints(reader: YamlReader, name: str, keys: Keys) -> tuple[str, ...]:
    if "constraints" not in keys:
        return ()
    found = reader.items(keys["constraints"][1], f"constraints of function {name}")
    for one in found:
        try:
            constrained_node(one.text)
        except ValueError as error:
            reader.fail(one.node, f"function {name}: {error}")
    return tuple(one.text for one in found)


def _read_only(reader: YamlReader, name: str, keys: Keys) -> bool:
    if "readonly_root_filesystem" not in keys:
        return False
    value = reader.scalar(keys["readonly_root_filesystem"][1], f"readonly_root_filesystem of function {name}")
    if value.text not in ("true", "false"):
        reader.fail(
            value.node, f'function {name}: readonly_root_filesystem is "{value.text}"; it must be true or false'
        )
    return value.text == "true"
