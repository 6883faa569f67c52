"""Secrets, limits, requests and constraints of a stack.yaml, and the line of each mistake in them."""

from __future__ import annotations

import textwrap

import pytest

from testbed.model.errors import StackError
from testbed.model.stack import run_keys
from testbed.model.stack.run_keys import RunKeys
from testbed.model.stack.yaml_nodes import YamlReader


def read(text: str) -> RunKeys:
    reader = YamlReader("stack.yaml")
    node = reader.compose(textwrap.dedent(text))
    assert node is not None
    return run_keys.read(reader, "one", reader.mapping(node, "function one"))


def test_what_is_written_is_read() -> None:
    assert read(
        """
        secrets: [db-password, smtp.user]
        limits: {memory: 64Mi, cpu: 0.5}
        requests: {memory: ""}
        constraints: ["kubernetes.io/hostname=node3", "node.platform.os == linux"]
        readonly_root_filesystem: true
        """
    ) == RunKeys(
        ("db-password", "smtp.user"),
        {"memory": "64Mi", "cpu": "0.5"},
        {},
        ("kubernetes.io/hostname=node3", "node.platform.os == linux"),
        True,
    )


def test_what_is_not_written_is_nothing() -> None:
    assert read("lang: x") == RunKeys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "secrets:\n- a\n- A",
            '3: function one: "A" cannot name a secret; use lower-case letters, digits, "-" and ".", a letter or '
            "digit at both ends",
        ),
        ("secrets:\n- ../a", '2: function one: "../a" cannot name a secret; use lower-case letters, digits, "-" and '
         '".", a letter or digit at both ends'),
        ("secrets:\n- a\n- a", "3: function one names the secret a twice; take one of them out"),
        ("secrets: a", '1: secrets of function one must be a list; write "- value" lines under it'),
        (
            "limits:\n  cpu: 1\n  memory: 128m",
            '3: function one: limits are wrong: memory limit "128m" is 0 bytes; no function starts with less than 4Mi',
        ),
        ("requests:\n  disk: 1Gi", '2: function one: requests are wrong: "disk" in limits is not known; give memory '
         "and cpu"),
        ("constraints:\n- here", '2: function one: "here" is no constraint; write e.g. kubernetes.io/hostname=node2'),
        (
            "constraints:\n- gpu=true",
            '2: function one: no node has the label "gpu=true"; there are kubernetes.io/hostname and '
            "kubernetes.io/os=linux",
        ),
        (
            "readonly_root_filesystem: perhaps",
            '1: function one: readonly_root_filesystem is "perhaps"; it must be true or false',
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_line_and_remedy(text: str, message: str) -> None:
    with pytest.raises(StackError) as caught:
        read(text)
    assert str(caught.value) == f"stack.yaml:{message}"
