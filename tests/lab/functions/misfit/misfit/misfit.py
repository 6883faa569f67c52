"""A server that misbehaves by the path it is asked for; it is always ready.

/hang  never answers      /garbage  answers with no HTTP        /early  closes without an answer
/cut   closes in the middle of one   /huge  100 MB   /leak  takes memory until it is ended   else: 200
"""

import contextlib
import os
import socket
import threading
import time

PORT = int(os.environ["port"])  # noqa: SIM112  as of-watchdog calls it
HUGE = 100_000_000
PIECE = b"x" * 100_000
LEAK = 8 << 20


def main():
    with socket.create_server(("", PORT), backlog=512) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection):
    with connection, contextlib.suppress(OSError):  # the client may go away
        answer(connection, path_of(connection))


def path_of(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part:
            raise ConnectionResetError
        head += part
    return head.split()[1].decode().partition("?")[0]


def answer(connection, path):
    if path == "/hang":
        connection.recv(1)  # until the client gives up
    elif path == "/garbage":
        connection.sendall(b"\x00\xff" * 500 + b"\r\n\r\n")
    elif path == "/cut":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
    elif path == "/huge":
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % HUGE)
        for _ in range(HUGE // len(PIECE)):
            connection.sendall(PIECE)
    elif path == "/leak":
        leak()
    elif path != "/early":
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine")


def leak():
    taken = []
    while True:
        taken.append(b"\x01" * LEAK)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
