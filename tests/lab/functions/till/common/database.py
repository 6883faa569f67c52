"""A connection to the data store, as the function's settings say."""

import os
from pathlib import Path

import pymysql


def connect():
    password = Path("/var/openfaas/secrets/mariadb-password").read_text()
    return pymysql.connect(
        host=os.environ["DB_HOST"], user="app", password=password, database="app", autocommit=True, connect_timeout=15
    )
