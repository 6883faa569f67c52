"""A stack.yaml is read as OpenFaaS users write it, and every mistake is named by file, line and remedy."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from testbed.model.application import Application
from testbed.model.errors import StackError, UsageError
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


def test_functions_keep_their_order_calls_and_environment() -> None:
    application = parse(GOOD)
    assert application.name == "app"
    assert [function.name for function in application.functions] == ["one", "two"]
    assert application.calls() == (("one", "two"),)
    one = application.function("one")
    assert (one.language, one.handler, one.image, one.ingress) == ("python3-http", "one", "one:latest", True)
    assert one.environment == {"NEXT": f"{GATEWAY}/two/path?x=1"}


def test_every_key_of_openfaas_is_accepted() -> None:
    text = GOOD + textwrap.indent(
        textwrap.dedent(
            """
            fprocess: python other.py
            secrets: [a]
            constraints: ["kubernetes.io/os=linux"]
            limits: {memory: 64Mi, cpu: 100m}
            requests: {memory: 64Mi}
            namespace: n
            readonly_root_filesystem: true
            skip_build: false
            build_args: {A: b}
            build_options: [dev]
            build_secrets: {A: b}
            platforms: linux/amd64
            environment_file: [more.yml]
            annotations: {directfaas/calls: "", topic: cron, directfaas/node: "node2, node3"}
            """
        ).replace("more.yml", "values.yml"),
        "    ",
    )
    folder = Folder({"one/handler.py": "", "two/handler.py": "", "values.yml": "environment: {A: 1, B: yes}"})
    two = stack_file.parse(text + "configuration: {templates: []}\n", {}, folder).function("two")
    assert two.fprocess == "python other.py"
    assert (two.secrets, two.limits, two.requests) == (("a",), {"memory": "64Mi", "cpu": "100m"}, {"memory": "64Mi"})
    assert (two.constraints, two.read_only_root_filesystem) == (("kubernetes.io/os=linux",), True)
    assert two.environment == {"A": "1", "B": "yes"}


def test_scalars_are_their_text_as_written() -> None:
    text = changed('directfaas/ingress: "true"', "directfaas/ingress: true\n      size: 0100\n      on: yes")
    assert parse(text).function("one").annotations["size"] == "0100"


def test_an_environment_file_wins_over_the_environment() -> None:
    text = changed("    environment:\n", "    environment_file: [more.yml]\n    environment:\n      SIZE: 9\n")
    assert parse(text).function("one").environment == {"NEXT": f"{GATEWAY}/two", "SIZE": "3"}


@pytest.mark.parametrize(
    ("written", "variables", "read"),
    [
        ("${TAG}", {"TAG": "x"}, "x"),
        ("${TAG:-latest}", {}, "latest"),
        ("${TAG:-latest}", {"TAG": ""}, "latest"),
        ("${TAG:-latest}", {"TAG": "x"}, "x"),
        ("a${TAG}b", {}, "ab"),
        ("$${TAG}", {"TAG": "x"}, "${TAG}"),
        ("$TAG", {"TAG": "x"}, "$TAG"),
    ],
)
def test_variables_are_substituted_as_faas_cli_does(written: str, variables: dict[str, str], read: str) -> None:
    assert parse(changed("one:latest", f'"one:{written}"'), variables).function("one").image == f"one:{read}"


def test_stores_their_scripts_and_folders_to_copy_are_read() -> None:
    text = STORES.replace("STORES", "mariadb, mail") + "configuration: {copy: [./shared]}\n"
    application = parse(text)
    assert application.function("one").stores == application.stores() == ("mariadb", "mail")
    assert (application.copied, application.scripts) == (
        {"shared": "shared"},
        {"mariadb": "CREATE TABLE a (b INT);"},
    )
    assert parse(GOOD).stores() == () and parse(GOOD).scripts == {}


def test_a_merge_key_is_followed() -> None:
    text = GOOD.replace(
        "  two:\n    lang: python3-http\n    handler: ./two\n    image: two:latest", "  two: *one"
    ).replace("  one:\n", "  one: &one\n", 1)
    text = text.replace("two: *one", "two:\n    <<: *one\n    handler: ./two\n    annotations: {}\n    environment: {}")
    assert parse(text).function("two").image == "one:latest"


TWO = "two:\n    lang: python3-http\n    handler: ./two\n    image: two:latest\n"
THREE = "  three:\n    lang: python3-http\n    handler: ./three\n    image: three:latest\n"

STORES = changed('directfaas/ingress: "true"', 'directfaas/ingress: "true"\n      directfaas/stores: STORES')

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


def test_load_reads_a_file_and_its_surroundings(tmp_path: Path) -> None:
    (tmp_path / "templates/python3-http/function").mkdir(parents=True)
    (tmp_path / "templates/python3-http/template.yml").write_text("fprocess: python index.py")
    (tmp_path / "templates/python3-http/function/handler.py").write_text("")
    for name in ("one", "two"):
        (tmp_path / "shop" / name).mkdir(parents=True)
        (tmp_path / "shop" / name / "handler.py").write_text("")
    file = tmp_path / "shop" / "stack.yaml"
    file.write_text(GOOD)
    application = stack_file.load(file, {}, tmp_path / "templates")
    assert application.name == "shop"
    assert application.function("two").handler == str(tmp_path / "shop" / "two")
    assert stack_file.load(file.parent, {}, tmp_path / "templates") == application


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    with pytest.raises(StackError) as caught:
        stack_file.load(file, {})
    assert str(caught.value) == f"{file} cannot be read (No such file or directory); name a stack.yaml"
