"""A stack.yaml is read as OpenFaaS users write it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from testbed.model.errors import StackError
from testbed.model.stack import stack_file
from tests.unit.model.stack.stack_texts import GATEWAY, GOOD, STORES, Folder, changed, parse


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


@pytest.mark.parametrize("what", ["handler", "copy", "environment_file", "script"])
@pytest.mark.parametrize("by_link", [False, True])
def test_nothing_of_an_application_leads_out_of_its_folder(tmp_path: Path, what: str, by_link: bool) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "application"
    (outside / "f").mkdir(parents=True)
    (outside / "f" / "handler.py").touch()
    (outside / "file").write_text("environment: {A: b}")
    (folder / "f").mkdir(parents=True)
    (folder / "f" / "handler.py").touch()
    paths = {"handler": "./f", "copy": "./f", "environment_file": "file", "script": "file"}
    (folder / "file").write_text("environment: {A: b}")
    if what == "script":
        (folder / "mariadb.sql").symlink_to(outside / "file")
    elif by_link:
        (folder / "link").symlink_to(outside / paths[what].removeprefix("./"))
        paths[what] = "./link"
    else:
        paths[what] = f"../outside/{paths[what].removeprefix('./')}"
    (folder / "stack.yaml").write_text(
        f"version: 1.0\nprovider: {{name: openfaas}}\nconfiguration: {{copy: [{paths['copy']}]}}\n"
        f"functions:\n  f:\n    lang: python3-http\n    handler: {paths['handler']}\n    image: f:1\n"
        f"    environment_file: [{paths['environment_file']}]\n"
        '    annotations: {directfaas/ingress: "true", directfaas/stores: mariadb}\n    secrets: [mariadb-password]\n'
    )
    with pytest.raises(
        StackError, match=r"leads out of .*, where the stack\.yaml lies; put what|is not a folder under"
    ):
        stack_file.load(folder / "stack.yaml", {})
