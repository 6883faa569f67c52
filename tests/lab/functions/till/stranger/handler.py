"""Tries whether it can connect to what the request names as host:port."""

import socket


def handle(event, context):
    host, _, port = event.body.decode().partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.5) as connection:
            return {"statusCode": 200, "body": f"connected: {connection.recv(10)!r}"}
    except OSError as error:
        return {"statusCode": 200, "body": type(error).__name__}
