"""Calls the misfit as asked (?path=/hang&timeout_s=2) and answers with what came of it, in JSON."""

import http.client
import os
from urllib.parse import urlsplit

URL = os.environ["MISFIT_URL"]


def handle(event, context):
    return {"statusCode": 200, "body": call(event.query["path"], float(event.query.get("timeout_s", "10")))}


def call(path, timeout_s):
    parts = urlsplit(URL)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        connection.request("GET", parts.path.rstrip("/") + path, headers={"Connection": "close"})
        answer = connection.getresponse()
        size = 0
        while part := answer.read(1 << 16):
            size += len(part)
        if answer.length:  # read(n) says nothing of an answer that was cut off
            raise http.client.IncompleteRead(b"", answer.length)
        return {"outcome": str(answer.status), "bytes": size}
    except (OSError, http.client.HTTPException) as error:
        return {"outcome": type(error).__name__}
    finally:
        connection.close()
