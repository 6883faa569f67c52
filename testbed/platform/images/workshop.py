"""Runs a build command in a place of its own: `python -m testbed.platform.images.workshop EMPTY FOLDER COMMAND...`.

Started by `tools` as the first process of new mount, PID and network namespaces, in which there is a loopback only.
FOLDER is seen where instances see their image, is written to, and belongs to the command meanwhile; root has it back
after. Output and exit code are the command's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from testbed.model.errors import LabError
from testbed.network.process import place
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.namespaces import bring_up
from testbed.network.process.place import Access, Grounds, Place, Start, give

USER_ID = (1 << 31) - 2
"""No instance's."""
LOOPBACK = "127.0.0.1"


def build(workplace: Path, folder: Path, command: Sequence[str]) -> int:
    """Run the command there; its exit code. `workplace`: an empty folder. LabError where no place can be made."""
    grounds = Grounds.of_lab(workplace)
    grounds.prepare(())
    bring_up("lo")
    give(folder, USER_ID)
    output = workplace / "output"
    where = Place("build", USER_ID, LOOPBACK, folder, Access.WRITE)
    what = Start(command, {}, output, workplace / "pid", workplace / "status")
    try:
        code = place.start(where, what, None, grounds, Cgroups("none", ())).wait()
        sys.stdout.write(output.read_text(errors="replace"))
        return code
    finally:
        give(folder, 0)


def main() -> None:
    workplace, folder, *command = sys.argv[1:]
    try:
        sys.exit(build(Path(workplace), Path(folder), command))
    except LabError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
