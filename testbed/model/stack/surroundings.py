"""What a stack.yaml refers to on the disk: handlers' folders, environment files, templates. Reads only when asked.

`stack_file.parse` sees the `Surroundings` alone, so that it can be tried without files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from testbed.model.errors import StackError


class Surroundings(Protocol):
    """What a stack.yaml refers to. Paths are relative to its folder."""

    def is_folder(self, path: str) -> bool: ...

    def files(self, path: str) -> Sequence[str]:
        """The files in a folder and below, by their paths in it."""

    def read(self, path: str) -> str | None:
        """A file's text, None when there is no such file."""

    def languages(self) -> Mapping[str, Sequence[str]]:
        """The languages there are templates for -> files that a handler's folder must have."""


class Disk:
    """The `Surroundings` of a real file."""

    def __init__(self, folder: Path, templates: Path) -> None:
        self._folder = folder
        self._templates = templates

    def is_folder(self, path: str) -> bool:
        return self._within(path).is_dir()

    def files(self, path: str) -> Sequence[str]:
        folder = self._within(path)
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())

    def read(self, path: str) -> str | None:
        file = self._within(path)
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    def _within(self, path: str) -> Path:
        """Where a path leads. StackError for one that leads out: what root may read there is not the application's."""
        place = self._folder / path
        if not place.resolve().is_relative_to(self._folder.resolve()):
            raise StackError(
                f"{path} leads out of {self._folder}, where the stack.yaml lies; put what the application needs there"
            )
        return place

    def languages(self) -> Mapping[str, Sequence[str]]:
        """A template's own sample handler (function/…/handler.*) tells which file a handler's folder must have."""
        found = {}
        for template in sorted(self._templates.glob("*/template.yml")):
            sample = template.parent / "function"
            found[template.parent.name] = sorted(
                file.relative_to(sample).as_posix() for file in sample.rglob("[hH]andler.*")
            )
        return found
