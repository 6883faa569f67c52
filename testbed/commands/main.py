"""The command line: finds the verb, runs it, and turns what goes wrong into one sentence and an exit code."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import click

from testbed.labkernel import cli as labkernel
from testbed.model.errors import EnvironmentProblem, TestbedError

VERBS = {
    "experiment": "run an experiment and print what may be concluded from it",
    "list": "name the experiments and the applications there are",
    "app": "list applications, draw one, try who reaches whom in it",
    "up": "start a lab",
    "down": "end a lab",
    "status": "show a running lab",
    "deploy": "deploy a stack.yaml into a namespace",
    "remove": "remove a namespace or one function",
    "scale": "set how many instances a function has",
    "scaler": "show what the scaler decided, and why",
    "shares": "count what each instance of a function served",
    "invoke": "call a function through the gateway",
    "describe": "show one function: how it is, where it runs, what it uses",
    "logs": "print what a function's instances wrote",
    "secret": "make, list, change and remove secrets",
    "namespace": "list, make and remove namespaces, hand out their credentials",
    "coldstarts": "show where the time of the last cold starts went",
    "exec": "run a command in a host or a node",
    "link": "show and change the trunks between nodes",
    "capture": "record packets at a switch port",
    "chaos": "give a running lab a fault and see it recover",
    "policy": "add, list and remove a provider's own rules",
    "flows": "show the flow tables, with what each row is for",
    "trace": "say which rows decide about a packet between two workloads",
    "shell": "open Mininet's command line on a running lab",
    "doctor": "say what this machine can run, and try it",
    "report": "make a run's tables, figures and report again from its raw data",
    "clean": "remove what dead labs and old caches have left",
    "completion": "print the code that teaches your shell to complete verbs",
}
"""Verb -> one line of help. Each is the `command` of the module of its name."""


OWN_PACKAGES = ("testbed", "experiments", "controllers")


class Verbs(click.Group):
    """Imports a verb's module only when it is asked for: `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        try:
            module = importlib.import_module(f"testbed.commands.{cmd_name}_verb")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in OWN_PACKAGES:
                raise
            raise EnvironmentProblem(f"the environment has no {error.name}; run `make setup` once more") from error
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message} `testbed --help` lists the verbs.", ctx) from None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--lab-kernel", is_flag=True, help="Run a batch verb in a kernel of the lab's own, without root.")
def cli(lab_kernel: bool) -> None:
    """A testbed for serverless chain networking: gateway-routed against direct function calls.

    \b
    Examples:
      sudo python -m testbed.run experiment
      sudo python -m testbed.run up --detach --delay 0.5
      sudo python -m testbed.run deploy functions/chain/stack.yaml --namespace tenant-a --route direct
      python -m testbed.run --lab-kernel experiment
    """


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. SIGTERM ends it as cleanly as Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        in_lab_kernel, rest = labkernel.split(arguments)
        if in_lab_kernel:
            return labkernel.run(rest)
        return cli.main(arguments, prog_name="testbed", standalone_mode=False) or 0
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("testbed: interrupted; everything it started has been ended", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone; nothing is left to flush to
        return 0


def _terminate(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)
