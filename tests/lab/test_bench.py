"""The bench runs from end to end, and the document is made from what it wrote. How fast anything is, is not asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.subject import SUBJECTS

CHECKOUT = Path(__file__).resolve().parents[2]
NOT_EVERYWHERE = {"lab-ready-retail"}
RUN = [subject for subject in SUBJECTS.values() if not subject.extra]
TIMEOUT_S = 600


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one quick run."""
    out = tmp_path_factory.mktemp("results")
    done = bench(*(subject.name for subject in RUN), "--quick", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize("subject", RUN, ids=lambda subject: subject.name)
def test_a_subject_measures_all_of_its_budgets_and_says_where(folder: Path, subject: Any) -> None:
    result = json.loads((folder / f"{subject.name}.json").read_text())
    assert result["problems"] == []
    assert result["command"][:3] == ["python", "-m", "bench"] and "--quick" in result["command"]
    assert len(result["commit"]) == 40
    assert {"cpu", "cpus", "kernel", "datapath", "load_at_start", "steal_share"} <= set(result["machine"])
    for one in result["budgets"]:
        assert one["name"] in NOT_EVERYWHERE or one["measured"]["value"] is not None
        assert one["verdict"] == ("unverified" if one["limit"] is not None else "")
    assert all(series["n"] >= len(series["values"]) for series in result["series"].values())


def test_the_document_is_made_from_the_results(folder: Path, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{report.BEGIN}\n{report.END}\nafter\n")
    done = bench("report", "--out", str(folder), "--document", str(document))
    assert done.returncode == 0, done.stderr
    text = document.read_text()
    assert "| gateway: requests that failed | ≤ 0 | 0 | unverified |" in text
    assert text.endswith(f"{report.END}\nafter\n")


def test_a_subject_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = bench("no-such-subject", "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("bench: bench has no subject 'no-such-subject'; it has generator, ")
    assert not list(tmp_path.iterdir())
