"""`python -m testbed.labkernel COMMAND [ARGUMENT...]`: runs a command in the lab kernel's guest."""

import sys

from testbed.labkernel import boot
from testbed.model.errors import TestbedError


def main() -> int:
    """The command's exit code, or that of the error that kept it from running."""
    if not sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return boot.run(sys.argv[1:])
    except TestbedError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code


if __name__ == "__main__":
    sys.exit(main())
