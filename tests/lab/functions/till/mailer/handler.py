"""Tells of a sale by mail."""

import os
import smtplib
from email.message import EmailMessage


def handle(event, context):
    message = EmailMessage()
    message["From"], message["To"] = "till@example.org", "owner@example.org"
    message["Subject"] = "Sold: " + event.body.decode()
    message.set_content("One more.")
    with smtplib.SMTP(os.environ["SMTP_HOST"], 587, timeout=15) as server:
        server.send_message(message)
    return {"statusCode": 200, "body": "sent"}
