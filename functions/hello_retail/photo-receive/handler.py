"""Receives a photo, as a URL or as bytes in base64, and looks up the assignment it belongs to.

The photo is stored without being waited for: the answer may be there first.
"""

import sys
import threading
import time

from .common.keyvalue import Table
from .common.wire import Failed, answering, read


@answering
def handle(event):
    started = time.monotonic()
    photo = read(event)
    token = str(photo["taskToken"])
    with Table("photoAssignments") as assignments:
        assignment = assignments.get(token)
    if assignment is None:
        raise Failed(f"there is no assignment {token}")
    looked_up = time.monotonic()
    threading.Thread(target=store, args=(assignment["id"], photo)).start()
    answer = {key: value for key, value in photo.items() if key != "photo"}  # its bytes stay here
    return {
        **answer,
        "received": True,
        "dbElapse": round((looked_up - started) * 1000),
        "respElapse": round((time.monotonic() - started) * 1000),
        "assignment": assignment,
    }


def store(product, photo):
    try:
        with Table("storedPhotos") as photos:
            photos.put(product, photo)
    except Failed as error:
        print(f"the photo of {product} was not stored: {error}", file=sys.stderr)
