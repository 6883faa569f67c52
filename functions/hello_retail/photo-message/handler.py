"""Mails an assignment to its photographer. Does not wait until the mail is delivered."""

import os
import smtplib
import sys
import threading
from email.message import EmailMessage

from .common.wire import answering, compact, read

HOST = os.environ.get("SMTP_HOST", "mail")
PORT = int(os.environ.get("SMTP_PORT") or 587)
SENDER = os.environ.get("SMTP_SENDER", "assignments@hello-retail.example")
TIMEOUT_S = 10
GREETING = os.uname().nodename  # looking for a full name would ask a name server


@answering
def handle(event):
    request = read(event)
    threading.Thread(target=send, args=(message(request),)).start()
    return {"body": request, "headers": dict(event.headers), "method": event.method, "path": event.path}


def message(request):
    data = request["data"]
    mail = EmailMessage()
    mail["From"] = SENDER
    mail["To"] = f"{data['photographer']['id']}@hello-retail.example"
    mail["Subject"] = f"{data['merchantName']}: please photograph {data['name']}"
    mail.set_content(compact(data))
    return mail


def send(mail):
    try:
        with smtplib.SMTP(HOST, PORT, GREETING, TIMEOUT_S) as server:
            server.send_message(mail)
    except OSError as error:  # smtplib's errors are OSErrors too
        print(f"the mail to {mail['To']} was not sent: {error}", file=sys.stderr)
