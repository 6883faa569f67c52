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
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from testbed.model.application import Application, FunctionSpec
from testbed.model.errors import EnvironmentProblem, StackError
from testbed.network.process import clearing
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


def folder_of(images_dir: Path, image: str, build: str) -> Path:
    """Where a build lies; without one ("") what the image's name stands for now."""
    return images_dir / _BUILDS / build if build else (images_dir / folder_name(image)).resolve()


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
            one = builds.get(source) or _build_one(function, templates_dir / function.language, images_dir, application)
        except RecursionError:
            raise StackError(
                f"image {function.image} of function {function.name} has too many folders in one another; use fewer"
            ) from None
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


def _build_one(function: FunctionSpec, template_dir: Path, images_dir: Path, application: Application) -> str:
    template = read_template(template_dir)
    tools.check_needs(function.name, template.language, template.needs)
    name = folder_name(function.image)
    (images_dir / _BUILDS).mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=images_dir / _BUILDS))
    try:
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", "node_modules/.cache")
        shutil.copytree(template_dir, staging, dirs_exist_ok=True, ignore=ignore)
        within = Path(application.folder or Path(function.handler).parent).resolve()
        copy = partial(_copy_within, function.name, within)
        for place, folder in {".": function.handler, **application.copied}.items():
            inside = staging / template.handler_folder / place
            shutil.copytree(folder, inside, dirs_exist_ok=True, ignore=ignore, copy_function=copy)
        target = images_dir / _BUILDS / f"{name}-{_digest(staging)}"
        if not target.exists():
            if template.build:
                tools.run_build(function.name, template.build, staging)
                _check_built(function.name, staging.resolve())
                _put_back(template_dir / "template.yml", staging / "template.yml")
            if template.bytecode:
                tools.compile_modules(staging)
            _open_to_all(staging)
            staging.rename(target)
        _point(images_dir / name, target)
        return target.name
    finally:
        clearing.remove(staging)


def _copy_within(function: str, application: Path, source: str, target: str) -> str:
    """Copy a file. StackError where it lies beyond the application: what root may read there is not the function's."""
    if not (real := Path(source).resolve()).is_relative_to(application):
        raise StackError(
            f"{source} of function {function} leads by a link to {real}, outside of {application}; "
            "put the file itself there"
        )
    return shutil.copy2(source, target)


def _check_built(function: str, folder: Path) -> None:
    """Raise StackError for what a compiler may not leave to root: links that lead out of the image, pipes, devices."""
    for above, folders, files in os.walk(folder):
        for path in (Path(above, name) for name in (*folders, *files)):
            mode = path.lstat().st_mode
            leads_out = stat.S_ISLNK(mode) and not path.resolve().is_relative_to(folder)
            if leads_out or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise StackError(
                    f"the build of function {function} leaves {path.relative_to(folder)}, which is no ordinary file; "
                    "have it leave files and folders only"
                )


def _put_back(original: Path, file: Path) -> None:
    """What says how a function is started is the template's, whatever its compiler has made of it."""
    if file.is_dir() and not file.is_symlink():
        raise StackError(f"the build leaves a folder in the place of {file.name}; have it leave that alone")
    file.unlink(missing_ok=True)
    shutil.copy2(original, file)


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
