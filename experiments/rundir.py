"""The folder that a run leaves behind, and how it is written so that it can be trusted.

A run is marked "incomplete" from its first moment and "complete" only at its end; one that failed or
was interrupted says so. Summaries appear all at once or not at all. What is in the files is not
decided here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed.measure.clocks import utc_stamp
from testbed.model.errors import EnvironmentProblem, UsageError

INCOMPLETE, COMPLETE, FAILED, INTERRUPTED = "incomplete", "complete", "failed", "interrupted"

RESULTS = ("hdr", "figures", "calibration.json", "fidelity.json", "report.html", "summary.csv", "summary.json")
"""What processing makes, in the order in which it is put in place: summaries last."""


class RunFolder:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: Path, experiment: str, config: Mapping[str, Any], manifest: Mapping[str, Any]) -> RunFolder:
        """Make `out`/<utc>-<experiment>-<config hash>/ with its manifest and config.yaml.

        Raises:
            EnvironmentProblem: the folder cannot be written.
        """
        digest = config_hash(config)
        stem = f"{utc_stamp()}-{experiment}-{digest}"
        with clear_write_errors(out, {**DISK_PROBLEMS, **FOLDER_PROBLEMS}):
            out.mkdir(parents=True, exist_ok=True)
            run = cls(next(candidate for candidate in _candidates(out, stem) if _made(candidate)))
            try:
                run.raw.mkdir()
                run.write_manifest({**manifest, "experiment": experiment, "config_hash": digest, "status": INCOMPLETE})
                (run.path / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False))
            except OSError:
                shutil.rmtree(run.path)
                raise
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. UsageError when it is none, or one that did not come to its end."""
        run = cls(path)
        if not (path / "manifest.json").is_file():
            raise UsageError(f"{path} is not a run: it has no manifest.json; runs are the folders in runs/")
        status = run.manifest().get("status")
        if status != COMPLETE:
            raise UsageError(f"the run in {path} is {status}: it has nothing to report; run the experiment again")
        return run

    @property
    def raw(self) -> Path:
        return self.path / "raw"

    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return dict(yaml.safe_load((self.path / "config.yaml").read_text()))

    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "manifest.json").read_text()))

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        write_atomically(self.path / "manifest.json", json.dumps(dict(manifest), indent=1) + "\n")

    def update_manifest(self, **changes: Any) -> None:
        self.write_manifest({**self.manifest(), **changes})

    @contextmanager
    def recording(self) -> Iterator[RunFolder]:
        """The block in which the run happens; its end, however it comes, is written into the manifest."""
        try:
            with clear_write_errors(self.path):
                yield self
                self.update_manifest(status=COMPLETE)
        except BaseException as failure:
            if isinstance(failure, KeyboardInterrupt | SystemExit):
                self._mark(INTERRUPTED, "ended by a signal")
            else:
                self._mark(FAILED, str(failure) or type(failure).__name__)
            raise

    @contextmanager
    def making_results(self) -> Iterator[Path]:
        """A scratch folder whose contents replace the run's results when the block ends well."""
        scratch = self.path / ".making"
        shutil.rmtree(scratch, ignore_errors=True)
        with clear_write_errors(self.path):
            try:
                scratch.mkdir()
                yield scratch
                self._put_in_place(scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _put_in_place(self, scratch: Path) -> None:
        for name in reversed(RESULTS):  # the old summaries go before what they summarise
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        for name in RESULTS:
            if (scratch / name).exists():
                (scratch / name).rename(self.path / name)

    def _mark(self, status: str, reason: str) -> None:
        try:
            self.update_manifest(status=status, reason=reason)
        except OSError:  # a full disk: the manifest says "incomplete" then, which is true
            return


def config_hash(config: Mapping[str, Any]) -> str:
    """Eight hex digits of what was asked, the same for the same configuration."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:8]


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step: readers see the old or the new one."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(text)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=1) + "\n")


DISK_PROBLEMS = {
    errno.ENOSPC: "free some space or choose another folder with --out",
    errno.EDQUOT: "free some space or choose another folder with --out",
    errno.EROFS: "choose a folder that can be written with --out",
}
FOLDER_PROBLEMS = {
    errno.EACCES: "choose a folder that you may write with --out",
    errno.ENOTDIR: "choose another folder with --out",
    errno.EEXIST: "choose another folder with --out",
}
"""Problems that only the making of a folder can have: later, elsewhere, they mean something else."""


@contextmanager
def clear_write_errors(path: Path, remedies: Mapping[int, str] = DISK_PROBLEMS) -> Iterator[None]:
    """Turn a full disk, a forbidden or a read-only folder into one sentence."""
    try:
        yield
    except OSError as problem:
        if problem.errno is None or problem.errno not in remedies:
            raise
        raise EnvironmentProblem(
            f"cannot write the run in {path}: {problem.strerror}; {remedies[problem.errno]}"
        ) from problem


def _candidates(out: Path, stem: str) -> Iterator[Path]:
    yield out / stem
    for number in range(2, 100):
        yield out / f"{stem}-{number}"


def _made(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True
