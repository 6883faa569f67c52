"""The one family of errors a user can meet.

Each message is one sentence that says what happened, where, and what to do next; the command
line prints it without a traceback and exits with the error's code. Programming mistakes are not
wrapped here: they keep their traceback.
"""


class TestbedError(Exception):
    """Something the user can mend. `exit_code` is what the command line exits with."""

    exit_code = 1
    __test__ = False  # the name begins with "Test"; pytest must not collect it


class UsageError(TestbedError):
    """The request itself is wrong: an unknown name, a value out of range."""

    exit_code = 2


class StackError(UsageError):
    """A stack.yaml that cannot be deployed; the message names file, line and remedy."""


class EnvironmentProblem(TestbedError):
    """The machine lacks something: a package, a capability, disk space, root."""

    exit_code = 3


class LabError(TestbedError):
    """The lab is not running, runs already, or one of its parts failed."""

    exit_code = 4


class PlatformError(TestbedError):
    """The control plane refused or failed a request."""

    exit_code = 5


class InvalidResult(TestbedError):
    """An experiment ran to its end, and its own checks say not to believe it."""

    exit_code = 6
