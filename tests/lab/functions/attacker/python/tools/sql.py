"""Tools on the store of the attacker's own: one statement, as its owner may send it."""

import os
from pathlib import Path

from function.tools.answers import Refused


def statement(text):
    """The first rows of what the server answers."""
    import pymysql

    password = Path("/var/openfaas/secrets/mariadb-password").read_text()
    try:
        with (
            pymysql.connect(
                host=os.environ["DB_HOST"], user="app", password=password, database="app", autocommit=True,
                connect_timeout=10, local_infile=True,
            ) as connection,
            connection.cursor() as cursor,
        ):  # fmt: skip
            cursor.execute(text)
            return "\n".join(str(row) for row in cursor.fetchmany(50))
    except pymysql.MySQLError as error:
        raise Refused(" ".join(map(str, error.args))) from None
