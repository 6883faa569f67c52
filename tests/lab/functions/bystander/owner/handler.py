"""Keeps its words where functions keep such: in its environment, in memory, in a secret, in its log, in its store."""

import os
from pathlib import Path

import pymysql

SECRETS = Path("/var/openfaas/secrets")
SECRET = (SECRETS / "word").read_text()
WORD = os.environ["WORD"]
print(f"its log holds {WORD[::-1]}", flush=True)


def handle(event, context):
    with (
        pymysql.connect(
            host=os.environ["DB_HOST"], user="app", password=(SECRETS / "mariadb-password").read_text(),
            database="app", autocommit=True, connect_timeout=15,
        ) as connection,
        connection.cursor() as cursor,
    ):  # fmt: skip
        cursor.execute("INSERT INTO words VALUES (%s)", (WORD.upper(),))
        cursor.execute("SELECT COUNT(*) FROM words")
        return {"statusCode": 200, "body": f"{cursor.fetchone()[0]} {len(SECRET)}"}
