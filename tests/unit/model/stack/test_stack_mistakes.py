"""Every mistake in a stack.yaml is named by file, line and remedy."""

from __future__ import annotations

import pytest

from testbed.model.errors import StackError
from tests.unit.model.stack.stack_texts import GATEWAY, GOOD, STORES, THREE, TWO, changed, parse

MISTAKES = {
    "unknown store": (
        STORES.replace("STORES", "redis"),
        "15: function one names the store redis; there are mariadb, mail",
    ),
    "store named twice": (
        STORES.replace("STORES", "mail, mail"),
        "15: function one names the store mail twice; take one of them out",
    ),
    "a function named as a store": (
        GOOD.replace("  two:", "  mail:"),
        "16: mail is the name of a store; give the function another",
    ),
    "copy from outside": (
        GOOD + "configuration:\n  copy:\n  - ./shared\n  - ../else\n",
        "23: ../else is not a folder under this file's own; copy one that is",
    ),
    "copy of everything": (
        GOOD + "configuration: {copy: [.]}\n",
        "20: . is not a folder under this file's own; copy one that is",
    ),
    "copy of nothing": (
        GOOD + "configuration: {copy: [./nowhere]}\n",
        "20: the folder ./nowhere to copy is missing; make it or mend the path",
    ),
    "empty": ("# nothing\n", "1: the file is empty; begin with version: 1.0, a provider and functions"),
    "not YAML": (
        changed("provider:", "provider: ["),
        "5: this is not YAML: expected ',' or ']', but got ':'; mend the line",
    ),
    "tab": (
        changed("  name: openfaas", "\tname: openfaas"),
        "4: this is not YAML: found character '\\t' that cannot start any token; mend the line",
    ),
    "not a mapping": ("- a\n", '1: the file must be a mapping of names to values; write "name: value" lines under it'),
    "binary": (
        "version: \x01\n",
        "1: this is not YAML: special characters are not allowed; save the file as plain text",
    ),
    "unknown use of ${": (
        changed("one:latest", "one:${TAG^^}"),
        "10: this use of ${ is not known; write ${NAME} or ${NAME:-default}, or $${ for a plain ${",
    ),
    "version": (changed("1.0", "2.0"), '2: version "2.0" is not known; write version: 1.0'),
    "no provider": (
        changed("provider:\n  name: openfaas\n  gateway: http://127.0.0.1:8080\n", ""),
        '2: there is no provider; add "provider:" with "name: openfaas" under it',
    ),
    "no provider name": (
        changed("  name: openfaas\n", ""),
        "3: the provider has no name; write name: openfaas under it",
    ),
    "provider": (changed("name: openfaas", "name: faas"), '4: provider "faas" is not known; write name: openfaas'),
    "no functions": (
        GOOD[: GOOD.index("functions:")],
        '2: there are no functions; add "functions:" with at least one function under it',
    ),
    "empty functions": (
        GOOD[: GOOD.index("  one:")],
        "6: there are no functions; add at least one under this line",
    ),
    "unknown top key": (
        changed("provider:", "providers: {}\nprovider:"),
        '3: "providers" in the file is not known; did you mean "provider"?',
    ),
    "unknown function key": (
        changed("    handler: ./one", "    handlr: ./one"),
        '9: "handlr" in function one is not known; did you mean "handler"?',
    ),
    "function is text": (
        changed(TWO, "two: three\n"),
        '16: function two must be a mapping of names to values; write "name: value" lines under it',
    ),
    "no lang": (
        changed("    lang: python3-http\n", ""),
        "7: function one has no lang; add e.g. lang: python3-http",
    ),
    "no handler": (changed("    handler: ./one\n", ""), "7: function one has no handler; add e.g. handler: ./one"),
    "no image": (changed("    image: one:latest\n", ""), "7: function one has no image; add e.g. image: one:latest"),
    "image without value": (
        changed("image: one:latest", "image:"),
        '10: image of function one has no value; write one, or "" for an empty one',
    ),
    "unknown lang": (
        changed("lang: python3-http", "lang: cobol"),
        "8: function one: there is no template for lang cobol; there are python3-http, other",
    ),
    "handler folder": (
        changed("./one", "./uno"),
        "9: function one: the handler folder ./uno is missing; make it or mend the path",
    ),
    "handler file": (
        changed("./one", "./empty"),
        "9: function one: the handler folder ./empty has no file handler.py; add it",
    ),
    "handler file of a language without a sample": (
        changed("lang: python3-http\n    handler: ./one", "lang: other\n    handler: ./empty"),
        "9: function one: the handler folder ./empty has no file handler.*; add it",
    ),
    "bad name": (
        changed("  two:", "  Two_2:"),
        '16: "Two_2" cannot name a function; use at most 63 lower-case letters, digits and "-", a letter or digit at '
        "both ends",
    ),
    "label is a list": (
        changed("    annotations:", "    labels:\n      com.openfaas.scale.min: [1]\n    annotations:"),
        "14: com.openfaas.scale.min in labels of function one must be text, not a list; write one value in quotes",
    ),
    "annotation is a mapping": (
        changed('directfaas/calls: "two"', "directfaas/calls: {two: 1}"),
        "15: directfaas/calls in annotations of function one must be text, not a mapping; write one value in quotes",
    ),
    "annotations are a list": (
        changed(TWO, TWO + "    annotations: [a]\n"),
        '20: annotations of function two must be a mapping of names to values; write "name: value" lines under it',
    ),
    "environment value is empty": (
        changed(f"NEXT: {GATEWAY}/two/path?x=1", "NEXT:"),
        '12: NEXT in environment of function one has no value; write one, or "" for an empty one',
    ),
    "ingress": (
        changed('directfaas/ingress: "true"', 'directfaas/ingress: "yes"'),
        '14: function one: directfaas/ingress is "yes"; it must be "true" or "false"',
    ),
    "unknown annotation": (
        changed("directfaas/calls", "directfaas/call"),
        '15: function one: annotation "directfaas/call" is not known; did you mean "directfaas/calls"?',
    ),
    "setting of the scaler": (
        changed('directfaas/calls: "two"', 'directfaas/calls: "two"\n      autoscaling.keda.sh/maxReplicaCount: few'),
        "16: annotation autoscaling.keda.sh/maxReplicaCount of function one must be a whole number of at least 0, not "
        '"few"',
    ),
    "node": (
        changed('directfaas/calls: "two"', 'directfaas/calls: "two"\n      directfaas/node: worker'),
        '16: function one: directfaas/node is "worker"; write e.g. node2 or node2,node3',
    ),
    "unknown callee": (
        changed('directfaas/calls: "two"', 'directfaas/calls: "two, tow"'),
        "15: function one calls tow, which is not a function of this file; did you mean two?",
    ),
    "very unknown callee": (
        changed('directfaas/calls: "two"', 'directfaas/calls: "two, billing"'),
        "15: function one calls billing, which is not a function of this file; "
        "add it or take it out of directfaas/calls",
    ),
    "calls itself": (
        changed('directfaas/calls: "two"', 'directfaas/calls: "two, one"'),
        "15: function one calls itself; take it out of its directfaas/calls",
    ),
    "duplicate call": (
        changed('directfaas/calls: "two"', 'directfaas/calls: "two, two"'),
        "15: function one names two twice in its calls; take one of them out",
    ),
    "cycle": (
        changed(TWO, TWO + '    annotations: {directfaas/calls: "three"}\n' + THREE)
        + '    annotations: {directfaas/calls: "one"}\n',
        "15: the calls one -> two -> three -> one form a cycle; take one of them out",
    ),
    "environment outside the calls": (
        changed(f"{GATEWAY}/two/path?x=1", f"{GATEWAY}/three"),
        "12: function one: environment value NEXT names function three, which is not among its directfaas/calls; "
        "add it there or take the value out",
    ),
    "environment outside the calls, with namespace": (
        changed(f"{GATEWAY}/two/path?x=1", f"{GATEWAY}/two,http://gateway:8080/function/three.tenant/p"),
        "12: function one: environment value NEXT names function three, which is not among its directfaas/calls; "
        "add it there or take the value out",
    ),
    "environment_file outside the calls": (
        changed(TWO, TWO + "    environment_file: [more.yml]\n"),
        "20: function two: environment value NEXT names function two, which is not among its directfaas/calls; "
        "add it there or take the value out",
    ),
    "no ingress": (
        changed('"true"', '"false"'),
        '6: no function may be invoked from outside; give one the annotation directfaas/ingress: "true"',
    ),
    "duplicate function": (
        changed(TWO, TWO + "  two: {}\n"),
        '20: "two" stands twice in functions, first in line 16; take one of them out',
    ),
    "duplicate key": (
        changed("    image: one:latest", "    image: one:latest\n    image: one:1"),
        '11: "image" stands twice in function one, first in line 10; take one of them out',
    ),
    "environment_file missing": (
        changed(TWO, TWO + "    environment_file:\n      - less.yml\n"),
        "21: function two: the environment_file less.yml is missing; make it or mend the path",
    ),
    "environment_file is text": (
        changed(TWO, TWO + "    environment_file: more.yml\n"),
        '20: environment_file of function two must be a list; write "- value" lines under it',
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_by_file_line_and_remedy(text: str, message: str) -> None:
    with pytest.raises(StackError) as caught:
        parse(text)
    assert str(caught.value) == f"app/stack.yaml:{message}"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("bad.yml", "app/bad.yml:3: A in environment must be text, not a list; write one value in quotes"),
        ("none.yml", 'app/none.yml:1: there is no environment; write "environment:" and the values under it'),
        (
            "broken.yml",
            "app/broken.yml:1: this is not YAML: found unexpected end of stream; mend the line",
        ),
    ],
)
def test_a_mistake_in_an_environment_file_names_that_file(file: str, message: str) -> None:
    with pytest.raises(StackError) as caught:
        parse(changed(TWO, TWO + f"    environment_file: [{file}]\n"))
    assert str(caught.value) == message
