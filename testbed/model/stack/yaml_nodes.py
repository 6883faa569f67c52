"""YAML text read as nodes that know their lines, so that a mistake can be named by file and line.

Substitutes `${VAR}` and `${VAR:-default}` first, as faas-cli does. What the nodes mean is for
`testbed.model.stack.stack_file` to say. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import yaml

from testbed.model.errors import StackError

_VARIABLE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_]\w*)(?P<default>:-[^{}\n]*)?\}|(?P<bad>\$\{)")


@dataclass(frozen=True)
class Scalar:
    """A text and where it stands."""

    text: str
    node: yaml.Node


class YamlReader:
    """Reads the nodes of one file; every complaint is a StackError that begins with `file:line:`."""

    def __init__(self, file: str) -> None:
        self.file = file

    def fail(self, node: yaml.Node | None, message: str) -> NoReturn:
        line = node.start_mark.line + 1 if node is not None else 1
        self.fail_at(line, message)

    def fail_at(self, line: int, message: str) -> NoReturn:
        raise StackError(f"{self.file}:{line}: {message}")

    def substitute(self, text: str, variables: Mapping[str, str]) -> str:
        """`text` with its variables replaced; an unset one without default becomes "", `$${` becomes `${`."""

        def value(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"
            if match["bad"]:
                line = text.count("\n", 0, match.start()) + 1
                self.fail_at(
                    line, "this use of ${ is not known; write ${NAME} or ${NAME:-default}, or $${ for a plain ${"
                )
            return variables.get(match["name"]) or (match["default"] or ":-")[2:]

        return _VARIABLE.sub(value, text)

    def compose(self, text: str) -> yaml.Node | None:
        """The root node, or None when there is nothing but comments."""
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.fail_at(
                mark.line + 1 if mark else 1, f"this is not YAML: {error.problem or error.context}; mend the line"
            )
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.fail_at(line, f"this is not YAML: {error.reason}; save the file as plain text")

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key -> (key node, value node) of a mapping; YAML merge keys are followed."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f'{what} must be a mapping of names to values; write "name: value" lines under it')
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = self.scalar(key, f"a key of {what}").text
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                self.fail(key, f'"{name}" stands twice in {what}, first in line {seen[name]}; take one of them out')
            seen[name] = key.start_mark.line + 1
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            try:
                yaml.SafeLoader("").flatten_mapping(node)
            except yaml.MarkedYAMLError as error:
                self.fail(node, f"the merge key << in {what} is wrong: {error.problem}; let it name a mapping")
        return {key.value: (key, value) for key, value in node.value}

    def scalar(self, node: yaml.Node, what: str) -> Scalar:
        """A text, number or boolean, as its text."""
        if not isinstance(node, yaml.ScalarNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            self.fail(node, f"{what} must be text, not {kind}; write one value in quotes")
        if node.tag == "tag:yaml.org,2002:null":
            self.fail(node, f'{what} has no value; write one, or "" for an empty one')
        return Scalar(node.value, node)

    def texts(self, node: yaml.Node, what: str) -> dict[str, Scalar]:
        """A mapping of names to texts."""
        return {key: self.scalar(value, f"{key} in {what}") for key, (_, value) in self.mapping(node, what).items()}

    def items(self, node: yaml.Node, what: str) -> list[Scalar]:
        """A list of texts."""
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f'{what} must be a list; write "- value" lines under it')
        return [self.scalar(item, f"an item of {what}") for item in node.value]
