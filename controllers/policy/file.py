"""Keeps the policies in a file, so that they outlive the controller. Decides nothing about them."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from controllers.policy.book import Book
from controllers.policy.rules import Policy, PolicyError, parse

LOG = logging.getLogger("controllers.policy.file")


class PolicyStore:
    """The policies of one controller; without a path they live as long as the process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self) -> dict[str, Policy]:
        """What was saved. A file that cannot be read is set aside, said in the log, and not used."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            saved = json.loads(self._path.read_text())
            policies = [parse(entry["policy"], entry["number"]) for entry in saved]
        except (OSError, ValueError, KeyError, TypeError, PolicyError) as error:
            aside = self._path.with_suffix(".unreadable")
            LOG.error("%s cannot be read (%s); it is now %s, and there are no policies", self._path, error, aside)
            self._path.replace(aside)
            return {}
        return {policy.name: policy for policy in policies}

    def save(self, book: Book) -> None:
        """Replace what is saved, in one step. OSError where the disk refuses; what was saved is then still there."""
        if self._path is None:
            return
        text = json.dumps([{"number": policy.number, "policy": policy.to_json()} for policy in book.values()], indent=2)
        temporary = self._path.with_suffix(".new")
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
