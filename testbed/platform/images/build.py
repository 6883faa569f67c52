"""Images: a function's handler and its language's template, copied into one folder to run from.

It stands for `faas-cli build` and the registry; nothing is downloaded. Where the template has a build command
it is run there (`tools`). A build lies in
`.builds/<image>-<digest of its content>` and the image's name is a symbolic link to it, so that
another build of the same image replaces it in one step while running instances keep theirs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from testbed.model.application import Application, FunctionSpec
from testbed.model.errors import EnvironmentProblem, StackError
from testbed.platform.images import tools

_BUILDS = ".builds"


@dataclass(frozen=True)
class Template:
    """A template.yml: `fprocess` is the command, run in the image's folder, as `build` is once when it is made.

    `bytecode`: Python modules of the image are compiled then. `needs`: programs and files of the machine -> the Debian
    package that has them.
    """

    language: str
    fprocess: str
    handler_folder: str = "function"
    build: str = ""
    bytecode: bool = False
    needs: Mapping[str, str] = field(default_factory=dict)


def read_template(folder: Path) -> Template:
    """The template.yml in a template's or an image's folder; raises StackError when it cannot be used."""
    file = folder / "template.yml"
    try:
        data = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise StackError(f"{file} is missing; a template needs it to say how its functions are started") from None
    except yaml.YAMLError as error:
        raise StackError(f"{file} is not YAML ({error.__class__.__name__}); mend it") from None
    if not isinstance(data, dict) or not isinstance(data.get("fprocess"), str) or not data["fprocess"].strip():
        raise StackError(
            f'{file} has no "fprocess"; give it the command that starts the function, e.g. python index.py'
        )
    needs = data.get("needs") or {}
    if not isinstance(needs, dict):
        raise StackError(f'"needs" in {file} is no mapping; write lines such as "node: nodejs" under it')
    return Template(
        str(data.get("language", folder.name)),
        data["fprocess"],
        str(data.get("handler_folder") or "function"),
        str(data.get("build") or ""),
        data.get("bytecode") is True,
        {str(needed): str(package) for needed, package in needs.items()},
    )


def folder_name(image: str) -> str:
    """The name of an image's folder in the images folder."""
    return re.sub(r"[/:]", "_", image)


def build_of(images_dir: Path, image: str) -> str:
    """The build that `image` stands for now, or "" when it was never built."""
    folder = images_dir / folder_name(image)
    return folder.resolve().name if (folder / "template.yml").is_file() else ""


def build(application: Application, templates_dir: Path, images_dir: Path) -> dict[str, str]:
    """Build every image of the application; returns image -> build. A build that exists is not made again.

    Raises StackError when two functions give one image different content, EnvironmentProblem when
    the folder cannot be written.
    """
    made: dict[str, str] = {}
    builds: dict[tuple[str, str, str], str] = {}
    for function in application.functions:
        source = (function.image, function.language, function.handler)
        try:
            one = builds.get(source) or _build_one(
                function, templates_dir / function.language, images_dir, application.copied
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"image {function.image} could not be built in {images_dir}: {error.strerror or error}; "
                "make room or permission there and deploy again"
            ) from error
        builds[source] = one
        if made.setdefault(function.image, one) != one:
            raise StackError(
                f"image {function.image} of function {function.name} is also that of another function with another "
                "handler; give each its own image name"
            )
    return made


def _build_one(function: FunctionSpec, template_dir: Path, images_dir: Path, copied: Mapping[str, str]) -> str:
    template = read_template(template_dir)
    tools.check_needs(function.name, template.language, template.needs)
    name = folder_name(function.image)
    (images_dir / _BUILDS).mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=images_dir / _BUILDS))
    try:
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", "node_modules/.cache")
        shutil.copytree(template_dir, staging, dirs_exist_ok=True, ignore=ignore)
        application = Path(function.handler).resolve().parent
        for folder in (function.handler, *copied.values()):
            _check_links(function.name, Path(folder), application)
        shutil.copytree(function.handler, staging / template.handler_folder, dirs_exist_ok=True, ignore=ignore)
        for place, folder in copied.items():
            shutil.copytree(folder, staging / template.handler_folder / place, dirs_exist_ok=True, ignore=ignore)
        target = images_dir / _BUILDS / f"{name}-{_digest(staging)}"
        if not target.exists():
            if template.build:
                tools.run_build(function.name, template.build, staging)
            if template.bytecode:
                tools.compile_modules(staging)
            _open_to_all(staging)
            staging.rename(target)
        _point(images_dir / name, target)
        return target.name
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_links(function: str, folder: Path, application: Path) -> None:
    """Raise StackError for a link that leads out of the application: what root may read there is not the function's."""
    for above, folders, files in os.walk(folder):
        for path in (Path(above, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(application):
                raise StackError(
                    f"{path} of function {function} is a link to {path.readlink()}, outside of {application}; "
                    "put the file itself there"
                )


def _open_to_all(folder: Path) -> None:
    """Let the function, whoever its user is, read its image and write to its own copy of it.

    The image itself lies where only root gets, and is changed by nobody.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o111
            path.chmod(0o777 if runs else 0o666)


def _point(link: Path, target: Path) -> None:
    """Make `link` a symbolic link to `target` in one step."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.relative_to(link.parent))
    fresh.replace(link)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            executable = path.stat().st_mode & 0o111
            digest.update(f"{path.relative_to(folder)}\0{bool(executable)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
