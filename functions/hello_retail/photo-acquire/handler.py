"""Takes a photo in: receives it, marks its assignment complete and reports it, one after the other."""

import os

from .common.calls import call
from .common.wire import answering, read

RECEIVE = os.environ["URL_PHOTO_RECEIVE"]
SUCCESS = os.environ["URL_PHOTO_SUCCESS"]
REPORT = os.environ["URL_PHOTO_REPORT"]


@answering
def handle(event):
    received = call(RECEIVE, read(event), event, "failed to receive photo")
    completed = call(SUCCESS, received, event, "failed to complete assignment")
    return call(REPORT, completed, event, "failed to report photo")
