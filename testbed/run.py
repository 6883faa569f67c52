"""The entry point: `sudo python -m testbed.run VERB …`, also installed as `testbed`.

Only the standard library is used until the program runs under the project's own environment, so that
the line above works with whatever `python` the machine has. The verbs live in testbed/commands.
"""

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
ENVIRONMENT = CHECKOUT / ".venv"
INTERPRETER = ENVIRONMENT / "bin" / "python"


def use_own_environment() -> None:
    """Go on under .venv's interpreter; without one, say how to make it and exit with code 3."""
    if Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        return
    if not INTERPRETER.exists():
        print(f"testbed: {ENVIRONMENT} does not exist yet; run `make setup` in {CHECKOUT} first", file=sys.stderr)
        sys.exit(3)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    os.execv(INTERPRETER, [str(INTERPRETER), "-m", "testbed.run", *sys.argv[1:]])


def main() -> None:
    use_own_environment()
    from testbed.commands.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
