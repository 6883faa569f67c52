"""A mail server: takes every message by SMTP, delivers none, and writes one JSON line about each.

Run by the node agent as `python -m testbed.platform.datastores.mail --data DIR --port N` in a store's instance. A line
of DIR/messages.ndjson has received_ns (wall clock), from, to, subject and bytes (of the message as it came). There is
neither authentication nor encryption: who may connect is the network's decision.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope

MESSAGES = "messages.ndjson"
LARGEST_MESSAGE_BYTES = 1 << 20
NO_ROOM = "452 4.3.1 Insufficient system storage"


class Mailbox:
    """An aiosmtpd handler that keeps a line of each message."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        """One message has come; it is accepted once its line is written."""
        content = envelope.original_content or b""
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line_of(content, envelope.mail_from or "", envelope.rcpt_tos, time.time_ns()))
        except OSError:
            return NO_ROOM
        return "250 2.0.0 OK"


def line_of(content: bytes, sender: str, recipients: list[str], received_ns: int) -> str:
    """What is kept of a message."""
    subject = message_from_bytes(content).get("Subject", "")
    known = {"received_ns": received_ns, "from": sender, "to": list(recipients), "subject": _text(subject)}
    return json.dumps({**known, "bytes": len(content)}, ensure_ascii=False) + "\n"


def _text(subject: Any) -> str:
    """A subject in plain text, as it came where its encoding is not known."""
    try:
        return str(make_header(decode_header(subject)))
    except (LookupError, ValueError):
        return str(subject)


async def serve(data: Path, port: int) -> None:
    """Take messages for ever."""
    data.mkdir(parents=True, exist_ok=True)
    file = data / MESSAGES
    file.touch()
    mailbox = Mailbox(file)

    def protocol() -> SMTP:
        return SMTP(mailbox, data_size_limit=LARGEST_MESSAGE_BYTES, hostname="mail", ident="mail")

    listener = await asyncio.get_running_loop().create_server(protocol, "0.0.0.0", port)
    if ready_fd := os.environ.get("READY_FD"):
        os.write(int(ready_fd), b"ready\n")
    await listener.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.platform.datastores.mail", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the messages; made when it is missing")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.data, arguments.port))


if __name__ == "__main__":
    main()
