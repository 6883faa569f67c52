"""What an application keeps in its database: emptied, and filled for repeated requests.

An application says in functions/NAME/seed.sql what its database is to hold; `@photographers` and other
variables stand for what the user sets. `reset` needs no description: it is the state of the first deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from testbed.model import datastores
from testbed.model.application import Application
from testbed.model.checkout import FUNCTIONS
from testbed.model.cluster import ClusterState
from testbed.model.errors import UsageError
from testbed.platform.client import applications
from testbed.platform.datastores import access

STORE = "mariadb"


def seed_script(name: str, variables: Mapping[str, int], folder: Path = FUNCTIONS) -> str:
    """The application's seed with its variables set; UsageError when it has none or does not know a variable."""
    file = folder / name / "seed.sql"
    try:
        script = file.read_text()
    except FileNotFoundError:
        raise UsageError(f"application {name} has nothing to seed: there is no {file}") from None
    for variable in variables:
        if f"@{variable}" not in script:
            raise UsageError(f"application {name} has no {variable} to seed; leave --{variable} out")
    return "".join(f"SET @{variable} = {value};\n" for variable, value in variables.items()) + script


def owners(application: Application, state: ClusterState, only: tuple[str, ...] = ()) -> list[str]:
    """The namespaces that hold the application and a database of their own, all or the named ones; else UsageError."""
    held = applications.namespaces_with(application, state)
    for namespace in only:
        if namespace not in held:
            there = f"it is deployed in {', '.join(held)}" if held else "deploy it there first"
            raise UsageError(f"namespace {namespace} does not hold application {application.name}; {there}")
    found = [one for one in only or held if f"{STORE}.{one}" in state.functions]
    if not found:
        raise UsageError(
            f"no namespace holds application {application.name} with a {STORE} store; "
            f"deploy functions/{application.name}/stack.yaml first"
        )
    return found


def reset(state_folder: Path, namespace: str) -> None:
    """Make the database as it was when it was first made: without tables, but those of the application's mariadb.sql.

    Raises PlatformError when the database cannot be reached.
    """
    tables = [f"`{table}`" for (table,) in access.execute(state_folder, namespace, "SHOW TABLES")]
    if tables:
        access.execute(state_folder, namespace, f"DROP TABLE {', '.join(tables)}")
    script = datastores.script(state_folder, namespace, STORE)
    if script.is_file():
        access.run_script(state_folder, namespace, script.read_text())


def seed(state_folder: Path, namespace: str, script: str) -> None:
    """Make the database hold what the script puts into an empty one, and nothing else."""
    reset(state_folder, namespace)
    access.run_script(state_folder, namespace, script)
