"""Templates that compile, and templates that need something of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from testbed.model.application import Application, FunctionSpec
from testbed.model.errors import EnvironmentProblem, StackError
from testbed.platform.images import build, tools


def make(folder: Path, **template: object) -> str:
    """Build image "one" with this template; returns the build's name."""
    (folder / "templates/any").mkdir(parents=True, exist_ok=True)
    file = folder / "templates/any/template.yml"
    file.write_text(yaml.safe_dump({"language": "any", "fprocess": "run", **template}))
    (folder / "one").mkdir(exist_ok=True)
    (folder / "one" / "handler.any").write_text("code")
    one = Application("shop", (FunctionSpec("one", "any", str(folder / "one"), "one"),))
    return build.build(one, folder / "templates", folder / "images")["one"]


def test_an_image_is_compiled_once_and_again_when_anything_of_it_changes(tmp_path: Path) -> None:
    command = "cp function/handler.any program && date +%s%N >when"

    def when() -> str:
        return (tmp_path / "images" / "one" / "when").read_text()

    first = make(tmp_path, build=command)
    compiled = when()
    assert (tmp_path / "images" / "one" / "program").read_text() == "code"
    assert (make(tmp_path, build=command), when()) == (first, compiled)
    assert make(tmp_path, build=command + " # another way") != first
    assert when() != compiled


def test_python_modules_are_compiled_for_where_they_are_seen(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "good.py").write_text("def f(): pass\n")
    (tmp_path / "one" / "bad.py").write_text("def f(:\n")
    make(tmp_path, bytecode=True)
    compiled = list((tmp_path / "images" / "one").rglob("*.pyc"))
    assert [file.name.partition(".")[0] for file in compiled] == ["good"]
    assert b"/home/app/function/good.py" in compiled[0].read_bytes()
    assert str(tmp_path).encode() not in compiled[0].read_bytes()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (
            "echo; echo 'Handler.x:3: error: no such thing' >&2; echo more >&2; exit 2",
            "Handler.x:3: error: no such thing",
        ),
        ("echo 'said elsewhere'; exit 1", "said elsewhere"),
        ("exit 7", "exit code 7"),
    ],
)
def test_what_does_not_compile_is_refused_with_the_compilers_first_line(
    tmp_path: Path, command: str, reason: str
) -> None:
    with pytest.raises(StackError) as caught:
        make(tmp_path, build=command)
    assert str(caught.value) == f"function one does not compile: {reason}; mend it and deploy again"
    assert build.build_of(tmp_path / "images", "one") == ""
    assert not list((tmp_path / "images").glob(".builds/*"))


def test_a_compiler_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "BUILD_TIMEOUT_S", 0.2)
    with pytest.raises(StackError, match="does not compile within 0 s; run its template's build command"):
        make(tmp_path, build="sleep 20")


@pytest.mark.parametrize("needed", ["no-such-program", "/no/such/file.jar"])
def test_a_language_that_is_not_installed_is_one_sentence(tmp_path: Path, needed: str) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        make(tmp_path, needs={"sh": "dash", "/bin/sh": "dash", needed: "any-tools"})
    assert str(caught.value) == (
        f"function one is written for any, which needs {needed}; install the package any-tools (make setup does)"
    )


def test_needs_must_be_a_mapping(tmp_path: Path) -> None:
    with pytest.raises(StackError, match='is no mapping; write lines such as "node: nodejs"'):
        make(tmp_path, needs=["sh"])


@pytest.mark.parametrize("left", ["ln -s /etc/passwd found", "mkfifo pipe", "ln -s /etc folder"])
def test_a_compiler_leaves_files_and_folders_only(tmp_path: Path, left: str) -> None:
    with pytest.raises(StackError, match=r"the build of function one leaves \w+, which is no ordinary file; have it"):
        make(tmp_path, build=left)


def test_a_compiler_does_not_change_how_a_function_is_started(tmp_path: Path) -> None:
    make(tmp_path, build="rm template.yml; ln -s function/handler.any template.yml")
    image = tmp_path / "images" / "one"
    assert not (image / "template.yml").is_symlink()
    assert build.read_template(image).fprocess == "run"
