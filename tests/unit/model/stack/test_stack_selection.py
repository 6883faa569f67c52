"""Part of a stack.yaml's functions, as if the others had never been there."""

from __future__ import annotations

import pytest

from testbed.model.application import Application
from testbed.model.errors import UsageError
from testbed.model.stack import stack_file
from tests.unit.model.stack.stack_texts import GATEWAY, THREE, TWO, changed, parse


def chain(length: int) -> Application:
    """one -> two -> three …, with their URLs, as a stack.yaml."""
    names = ["one", "two", "three"][:length]
    functions = []
    for name, callee in zip(names, [*names[1:], None], strict=True):
        ingress = "true" if name == "one" else "false"
        functions.append(
            f"  {name}:\n    lang: python3-http\n    handler: ./{name}\n    image: {name}\n"
            f'    annotations: {{directfaas/ingress: "{ingress}", directfaas/calls: "{callee or ""}"}}\n'
            f"    environment: {{SIZE: '1'{f', NEXT: {GATEWAY}/{callee}' if callee else ''}}}\n"
        )
    return parse("version: 1.0\nprovider: {name: openfaas}\nfunctions:\n" + "".join(functions))


def test_selecting_part_of_a_chain_drops_the_calls_to_the_rest() -> None:
    application, left_out = stack_file.select(chain(3), "^(one|two)$")
    assert left_out == ("three",)
    assert application.calls() == (("one", "two"),)
    assert application.function("one").environment == {"SIZE": "1", "NEXT": f"{GATEWAY}/two"}
    assert application.function("two").environment == {"SIZE": "1"}
    assert application.function("two").annotations["directfaas/calls"] == ""


def test_selecting_everything_changes_nothing() -> None:
    assert stack_file.select(chain(3), ".") == (chain(3), ())


def test_a_chosen_length_is_the_chain_of_that_length() -> None:
    assert stack_file.select(chain(3), "one|two")[0] == chain(2)


def test_of_several_urls_in_one_value_only_those_left_out_are_dropped() -> None:
    text = changed(TWO, TWO + THREE).replace(f"{GATEWAY}/two/path?x=1", f"'{GATEWAY}/two/a?x=1,2, {GATEWAY}/three'")
    application = parse(text.replace('directfaas/calls: "two"', 'directfaas/calls: "two, three"'))
    two_left, _ = stack_file.select(application, "one|two")
    three_left, _ = stack_file.select(application, "one|three")
    assert two_left.function("one").environment["NEXT"] == f"{GATEWAY}/two/a?x=1,2"
    assert three_left.function("one").environment["NEXT"] == f"{GATEWAY}/three"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("four", 'no function of app matches "four"; there are one, two, three'),
        ("(", '"(" is not a regular expression (missing ), unterminated subpattern at position 0); write e.g. '
         "chain-[1-4]$"),
        ("two|three", 'no function of app that matches "two|three" may be invoked from outside; let the pattern match '
         "one too"),
    ],
)  # fmt: skip
def test_a_selection_that_cannot_be_deployed_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        stack_file.select(chain(3), pattern)
    assert str(caught.value) == message
