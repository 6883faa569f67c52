"""A slice of the lab tests, and a whole experiment, on the kernel datapath and netem, in the lab kernel."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = 65534
RECOVERY = "test_no_request_fails_while_the_controller_is_killed_and_restarted"
APPLICATIONS = {
    "tests/lab/applications/test_bookinfo.py": (
        "test_page_and_api_are_the_same_on_both_routes_as_often_as_asked",
        "test_every_call_keeps_the_id_and_names_its_caller",
        "test_exactly_the_papers_calls_pass_and_the_store_is_ratings_own",
    ),
    "tests/lab/applications/test_hello_retail.py": (
        "test_all_three_chains_answer_the_same_on_both_routes_as_often_as_asked",
        "test_a_chain_takes_eight_connections_by_gateway_and_five_directly",
        "test_connections_to_the_database_and_statements_are_those_of_the_original",
    ),
}


def in_lab_kernel(*tests: str) -> None:
    """Lab tests pass in a guest."""
    result = subprocess.run(
        [sys.executable, "-m", "testbed.labkernel", sys.executable, "-m", "pytest", *tests],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_policy_holding_and_recovery_work_on_the_kernel_datapath() -> None:
    in_lab_kernel(
        "tests/lab/policy/test_policy.py",
        "tests/lab/network/test_datapath.py",
        "tests/lab/network/test_crowd.py",
        f"tests/lab/faults/test_recovery.py::{RECOVERY}",
    )


def test_functions_are_kept_in_their_place() -> None:
    in_lab_kernel("tests/lab/isolation/test_isolation.py", "tests/lab/isolation/test_traces.py")


@pytest.mark.parametrize("file", APPLICATIONS)
def test_an_application_works_on_the_kernel_datapath(file: str) -> None:
    in_lab_kernel(*(f"{file}::{name}" for name in APPLICATIONS[file]))


def test_an_ordinary_user_runs_an_experiment(ordinary_folder: Path) -> None:
    """The table, the verdict and the run directory; what the verdict is depends on the machine's other load."""
    user = os.geteuid() or NOBODY
    result = subprocess.run(
        [
            sys.executable, "-m", "testbed.run", "--lab-kernel", "experiment", "--out", ".", "--lengths", "1,2,3",
            "--delay", "0,0.5", "--gateway-upstream", "pooled", "--repetitions", "12",
        ],
        cwd=ordinary_folder, user=user, capture_output=True, text=True, timeout=1200, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "HOME": "/nonexistent"},
    )  # fmt: skip
    assert "Verdict:" in result.stdout, result.stdout + result.stderr
    (run,) = ordinary_folder.glob("*-chain-length-*")
    assert run.stat().st_uid == user
    assert json.loads((run / "manifest.json").read_text())["datapath"] == "kernel"
    rows = list(csv.DictReader((run / "summary.csv").open()))
    assert {(row["length"], float(row["delay_ms"])) for row in rows} == {
        (length, delay) for length in ("1", "2", "3") for delay in (0.0, 0.5)
    }
    findings = json.loads((run / "fidelity.json").read_text())
    assert not [
        finding for finding in findings["findings"] if finding["check"] in ("connections", "flow digest", "links")
    ]
