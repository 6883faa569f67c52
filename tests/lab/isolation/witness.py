"""A process of the lab's own, run inside it as root: it waits, counts signals, and leaves what others might reach.

`python -m tests.lab.isolation.witness NAME WORD KEY COUNT_FILE`: sockets, a message queue, shared memory and files,
called by NAME or KEY, that hold WORD and are open to everybody, and a key of the kernel's for its own user. Prints its
number once it is there; ends, and takes all with it, when its standard input does. Every signal SIGURG adds a
character to COUNT_FILE.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import sys
from pathlib import Path

IPC_CREAT, IPC_RMID, SHMEM = 0o1000, 0, 0o666
KEYCTL_SET_TIMEOUT, USER_KEYRING, SESSION_KEYRING = 15, -4, -3
KEY_LIFE_S = 900
KEY_CALLS = {"x86_64": (248, 250), "aarch64": (217, 219)}
"""add_key(2) and keyctl(2)."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p


def leave_keys(name: bytes, word: bytes) -> None:
    """A key in the keyring of the user and in that of the session; there may be no keyrings on this kernel."""
    add, control = KEY_CALLS[platform.machine()]
    for ring in (USER_KEYRING, SESSION_KEYRING):
        key = _libc.syscall(add, b"user", name, word, len(word), ring)
        if key > 0:
            _libc.syscall(control, KEYCTL_SET_TIMEOUT, key, KEY_LIFE_S)


def listening(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(8)
    if not address.startswith("\0"):
        Path(address).chmod(0o777)
    return server


def main() -> None:
    name, word, number, count_file = sys.argv[1:]
    key, content = int(number), word.encode()
    os.umask(0)
    count = os.open(count_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    signal.signal(signal.SIGURG, lambda *_: os.write(count, b"x"))
    files = [Path("/dev/shm", name), Path("/tmp", name)]
    for file in files:
        file.write_text(word)
    sockets = [listening(f"\0{name}"), listening(f"/tmp/{name}.sock")]
    memory = _libc.shmget(key, 4096, IPC_CREAT | SHMEM)
    ctypes.memmove(_libc.shmat(memory, None, 0), content, len(content))
    semaphores, messages = _libc.semget(key, 1, IPC_CREAT | SHMEM), _libc.msgget(key, IPC_CREAT | SHMEM)
    queue = _libc.mq_open(f"/{name}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    leave_keys(name.encode(), content)
    try:
        print(os.getpid(), queue, flush=True)
        sys.stdin.read()
    finally:
        for file in (*files, Path(f"/tmp/{name}.sock")):
            file.unlink(missing_ok=True)
        _libc.shmctl(memory, IPC_RMID, None)
        _libc.semctl(semaphores, 0, IPC_RMID)
        _libc.msgctl(messages, IPC_RMID, None)
        _libc.mq_unlink(f"/{name}".encode())
        for one in sockets:
            one.close()


if __name__ == "__main__":
    main()
