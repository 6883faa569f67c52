"""Asks for the photo of a new product: assigns a photographer, writes to them and records the assignment.

The message and the record are on their way at the same time; only the record is waited for.
"""

import os
import sys
import threading

from .common.calls import call
from .common.wire import Failed, answering, read

ASSIGN = os.environ["URL_PHOTO_ASSIGN"]
MESSAGE = os.environ["URL_PHOTO_MESSAGE"]
RECORD = os.environ["URL_PHOTO_RECORD"]
MERCHANT_NAME = "Hello Retail"
PHOTOGRAPHER_NAME = "Anna"
TASK_TOKEN = "20210327"
MOVED = ("photographers", "photographer", "assigned", "assignmentComplete")


@answering
def handle(event):
    assigned = call(ASSIGN, read(event), event, "Failed in photo-assign")
    if assigned.get("assigned") != "true":
        raise Failed("Failed in photo-assign")
    task = reshaped(assigned)
    threading.Thread(target=send_message, args=(task, event)).start()
    with_token = {**task, "data": {**task["data"], "tasks": {"taskToken": TASK_TOKEN}}}
    return call(RECORD, with_token, event, "Failed in photo-record")


def reshaped(assigned):
    """The event with what was assigned as part of its data."""
    rest = {key: value for key, value in assigned.items() if key not in MOVED}
    moved = {key: assigned[key] for key in MOVED}
    moved["photographer"] = {**moved["photographer"], "name": PHOTOGRAPHER_NAME}
    return {**rest, "data": {**rest["data"], **moved, "merchantName": MERCHANT_NAME}}


def send_message(task, event):
    try:
        call(MESSAGE, task, event, "Failed in photo-message")
    except Failed as failure:
        print(failure, file=sys.stderr)
