"""A data store: Debian's MariaDB server, in the process of a store's instance.

Makes the tables when there are none, in one step, so that half-made ones are never used; then becomes the server. The
memory that it takes is small (some 30 MB), because several tenants' share one machine. Run by the node agent, in the
store's place, as `python -m testbed.platform.datastores.mariadb --data DIR --port N [--script FILE]`; the password of
the user `app` is read from the store's secrets. Nothing is measured or restarted here.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from testbed.model.datastores import KINDS
from testbed.model.errors import EnvironmentProblem, TestbedError
from testbed.network.process.skeleton import SECRETS

DATABASE = USER = "app"
SOCKET = "mysqld.sock"
TABLES = "data"
"""The server's own folder in the store's."""
_PACKAGE_SQL = Path("/usr/share/mysql")
_SYSTEM_TABLES = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
_ERROR_LINES = 3

_SETTINGS = (
    "--no-defaults",  # the machine's own configuration is no business of the lab's
    "--skip-performance-schema",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--skip-innodb-doublewrite",
    "--innodb-use-native-aio=0",  # neither io_uring nor AIO is there on every kernel
    "--innodb-buffer-pool-size=8M",
    # Later versions set aside addresses for a pool that could grow to 8 TiB, which the lab kernel does not have.
    "--loose-innodb-buffer-pool-size-max=8M",
    "--innodb-log-file-size=4M",
    "--innodb-log-buffer-size=1M",
    "--innodb-undo-tablespaces=0",
    "--innodb-autoextend-increment=1",
    "--innodb-data-file-path=ibdata1:1M:autoextend",
    "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
    "--innodb-flush-log-at-trx-commit=2",  # outlives a crash of the server, which is all that happens here
    "--innodb-io-capacity=100",
    "--key-buffer-size=64K",
    "--aria-pagecache-buffer-size=1M",
    "--open-files-limit=4096",
    "--table-open-cache=200",
    "--max-connections=300",
    "--max-connect-errors=4294967295",  # readiness probes connect and leave
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--userstat=ON",
    "--log-warnings=1",
)


def server() -> str:
    """The server's program; EnvironmentProblem when this machine has none."""
    program = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not all((_PACKAGE_SQL / name).is_file() for name in _SYSTEM_TABLES):
        raise EnvironmentProblem(
            "the store mariadb needs the MariaDB server, which this machine does not have; install it with "
            "`apt-get install mariadb-server`, or run `make setup`"
        )
    return program


def administrator() -> str:
    """Who may do everything, by the server's socket alone: the user of the machine whom this process runs as."""
    return pwd.getpwuid(os.geteuid()).pw_name


def make_data(program: str, data: Path, script: str, administrator: str) -> None:
    """Make the tables below `data`: the system's, and database `app` with what `script` puts in. EnvironmentProblem."""
    staging = data / f"{TABLES}.new"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    lines = ["create database mysql;", "use mysql;", f"set @auth_root_socket='{administrator}';"]
    lines += [(_PACKAGE_SQL / name).read_text() for name in _SYSTEM_TABLES]
    lines += [f"create database {DATABASE};", f"use {DATABASE};", script]
    made = subprocess.run(
        (program, *_SETTINGS, f"--datadir={staging}", "--bootstrap"),
        input="\n".join([*lines, ""]),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        lines = made.stderr.splitlines()
        said = [line for line in lines if line.startswith("ERROR:")] or [line for line in lines if "ERROR" in line]
        raise EnvironmentProblem(f"the data of mariadb could not be made: {' '.join(said[:_ERROR_LINES])}")
    staging.rename(data / TABLES)


def statements_at_start(password: bytes) -> str:
    """What the server runs each time before it takes connections. The password itself is in no file."""
    digest = hashlib.sha1(hashlib.sha1(password).digest()).hexdigest().upper()
    return (
        f"CREATE USER IF NOT EXISTS {USER}@'%';\n"
        f"ALTER USER {USER}@'%' IDENTIFIED VIA mysql_native_password USING '*{digest}';\n"
        f"GRANT ALL ON {DATABASE}.* TO {USER}@'%';\n"
    )


def command_line(program: str, data: Path, port: int, init_file: Path) -> tuple[str, ...]:
    """The server, listening on `port` of every address of its host and on a socket in its data folder."""
    here = (f"--datadir={data / TABLES}", f"--socket={data / SOCKET}", f"--pid-file={data / 'mysqld.pid'}")
    return (program, *_SETTINGS, *here, "--bind-address=0.0.0.0", f"--port={port}", f"--init-file={init_file}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.platform.datastores.mariadb", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the store's folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--administrator", default="root", help="who may do everything by the server's socket")
    parser.add_argument("--script", type=Path, help="SQL that is run in the database app when the data is made")
    arguments = parser.parse_args()
    try:
        program = server()
        if not (arguments.data / TABLES).is_dir():
            script = arguments.script.read_text() if arguments.script else ""
            make_data(program, arguments.data, script, arguments.administrator)
    except TestbedError as error:
        sys.exit(str(error))
    init_file = arguments.data / ".start.sql"
    init_file.touch(mode=0o600)
    init_file.write_text(statements_at_start((SECRETS / KINDS["mariadb"].secret).read_bytes()))
    os.execv(program, command_line(program, arguments.data, arguments.port, init_file))


if __name__ == "__main__":
    main()
