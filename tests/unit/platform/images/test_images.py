"""An image is a template and a handler in one folder, replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.model.application import Application, FunctionSpec
from testbed.model.errors import EnvironmentProblem, StackError
from testbed.network.process import clearing
from testbed.platform.images import build as images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates/python/function").mkdir(parents=True)
    (tmp_path / "templates/python/template.yml").write_text("language: python\nfprocess: python index.py\n")
    (tmp_path / "templates/python/index.py").write_text("serve()")
    (tmp_path / "templates/python/function/helper.py").write_text("")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "handler.py").write_text(f"# {name}")
    return tmp_path


def application(folder: Path, image: str = "shop/one:1.0", handler: str = "one") -> Application:
    return Application("shop", (FunctionSpec("one", "python", str(folder / handler), image),))


def test_template_and_handler_lie_in_the_images_folder(folder: Path) -> None:
    made = images.build(application(folder), folder / "templates", folder / "images")
    image = folder / "images" / "shop_one_1.0"
    assert images.read_template(image) == images.Template("python", "python index.py")
    assert (image / "index.py").read_text() == "serve()"
    assert (image / "function" / "handler.py").read_text() == "# one"
    assert (image / "function" / "helper.py").is_file()
    assert made == {"shop/one:1.0": images.build_of(folder / "images", "shop/one:1.0")}


def test_the_same_content_is_the_same_build_and_other_content_another(folder: Path) -> None:
    def build() -> str:
        return images.build(application(folder), folder / "templates", folder / "images")["shop/one:1.0"]

    first = build()
    (folder / "one" / "__pycache__").mkdir()
    (folder / "one" / "__pycache__" / "handler.pyc").write_text("")
    assert build() == first
    (folder / "one" / "handler.py").write_text("# changed")
    second = build()
    assert second != first
    assert (folder / "images" / ".builds" / first / "function" / "handler.py").read_text() == "# one"
    assert (folder / "images" / "shop_one_1.0" / "function" / "handler.py").read_text() == "# changed"
    assert not list((folder / "images").glob(".builds/.staging*"))


def test_a_build_is_found_whatever_the_name_stands_for_since(folder: Path) -> None:
    first = images.build(application(folder), folder / "templates", folder / "images")["shop/one:1.0"]
    (folder / "one" / "handler.py").write_text("# somebody else's")
    second = images.build(application(folder), folder / "templates", folder / "images")["shop/one:1.0"]
    found = [images.folder_of(folder / "images", "shop/one:1.0", build) for build in (first, second, "")]
    handlers = [(one / "function" / "handler.py").read_text() for one in found]
    assert handlers == ["# one", "# somebody else's", "# somebody else's"]


def test_an_image_that_was_never_built_has_no_build(tmp_path: Path) -> None:
    assert images.build_of(tmp_path, "shop/one:1.0") == ""


def test_one_image_name_cannot_stand_for_two_handlers(folder: Path) -> None:
    two = FunctionSpec("two", "python", str(folder / "two"), "shop/one:1.0")
    both = Application("shop", (*application(folder).functions, two))
    with pytest.raises(StackError) as caught:
        images.build(both, folder / "templates", folder / "images")
    assert str(caught.value) == (
        "image shop/one:1.0 of function two is also that of another function with another handler; "
        "give each its own image name"
    )


def test_functions_may_share_one_image(folder: Path) -> None:
    one = application(folder).functions[0]
    two = FunctionSpec("two", "python", one.handler, one.image)
    assert len(images.build(Application("shop", (one, two)), folder / "templates", folder / "images")) == 1


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / ".builds").write_text("in the way")
    with pytest.raises(EnvironmentProblem) as caught:
        images.build(application(folder), folder / "templates", folder / "images")
    assert str(caught.value).startswith(f"image shop/one:1.0 could not be built in {folder / 'images'}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing; a template needs it to say how its functions are started"),
        ("a: [", "is not YAML (ParserError); mend it"),
        ("language: python", 'has no "fprocess"; give it the command that starts the function, e.g. python index.py'),
        ("- a", 'has no "fprocess"; give it the command that starts the function, e.g. python index.py'),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "template.yml").write_text(text)
    with pytest.raises(StackError) as caught:
        images.read_template(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'template.yml'} {message}"


def test_a_copied_folder_lies_in_every_functions_own_under_its_name(folder: Path) -> None:
    (folder / "shared").mkdir()
    (folder / "shared" / "code.py").write_text("common = 1")
    two = FunctionSpec("two", "python", str(folder / "two"), "shop/two:1.0")
    app = application(folder)
    both = Application("shop", (*app.functions, two), copied={"lib/shared": str(folder / "shared")})
    first = images.build(both, folder / "templates", folder / "images")
    for name in ("one", "two"):
        image = folder / "images" / f"shop_{name}_1.0" / "function"
        assert (image / "lib" / "shared" / "code.py").read_text() == "common = 1"
        assert (image / "handler.py").read_text() == f"# {name}"
    (folder / "shared" / "code.py").write_text("common = 2")
    second = images.build(both, folder / "templates", folder / "images")
    assert first.keys() == second.keys() and not set(first.values()) & set(second.values())


def test_a_link_is_followed_within_the_application_and_refused_beyond_it(folder: Path) -> None:
    (folder / "one" / "shared.py").symlink_to("../two/handler.py")
    images.build(application(folder), folder / "templates", folder / "images")
    assert (folder / "images" / "shop_one_1.0" / "function" / "shared.py").read_text() == "# two"
    (folder / "two" / "passwd").symlink_to("/etc/passwd")
    for name, target in (("passwd", "/etc/passwd"), ("etc", "/etc/apt"), ("other", "../two")):
        (folder / "one" / name).symlink_to(target)
        with pytest.raises(
            StackError, match=r"/one/\S+ of function one leads by a link to /etc/.*, outside of .*; put"
        ):
            images.build(application(folder), folder / "templates", folder / "images")
        (folder / "one" / name).unlink()


def test_a_handler_with_very_many_folders_in_one_another_is_refused_and_cleared_away(folder: Path) -> None:
    deep = folder / "one"
    fd = os.open(deep, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    try:
        with pytest.raises(StackError, match="has too many folders in one another"):
            images.build(application(folder), folder / "templates", folder / "images")
        assert not list((folder / "images").glob(".builds/.staging*"))
    finally:
        assert clearing.remove(deep) == ""
    assert not deep.exists()
