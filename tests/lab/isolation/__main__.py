"""Prints what comes of each attempt, as a Markdown table: `python -m tests.lab.isolation [GROUP...]`, as root."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from testbed.platform.client.bringup import start_lab
from tests.lab.isolation.outcomes import GROUPS, heading, markdown, rows
from tests.lab.isolation.scene import ATTACKERS, FREE, staged


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.lab.isolation", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all when none is named")
    chosen = parser.parse_args().groups or list(GROUPS)
    if unknown := set(chosen) - set(GROUPS):
        parser.error(f"there is no group {', '.join(sorted(unknown))}")
    with (
        tempfile.TemporaryDirectory() as folder,
        start_lab(name=f"isolation-{os.getpid()}") as lab,
        staged(lab, Path(folder)) as scene,
    ):
        attackers = (*ATTACKERS, FREE)
        print(heading(attackers))
        table = []
        for one in rows(scene, chosen, attackers):
            table.append(one)
            print(*markdown([one], attackers), flush=True)
        for attacker in attackers:
            outcomes = [one.outcomes[attacker] for one in table if attacker in one.outcomes]
            print(f"\n{attacker.title}: {sum(one.succeeded for one in outcomes)} of {len(outcomes)} succeed.")


if __name__ == "__main__":
    main()
