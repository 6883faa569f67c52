"""Reports a photo taken: ends the assignment, and takes its photographer's count of assignments away.

Without the count nobody is asked a second time before registering anew: so it is in the shop's original.
"""

from .common.keyvalue import Table
from .common.wire import Failed, answering, read


@answering
def handle(event):
    photo = read(event)
    with Table("photographerRegistry") as registry:
        photographer = registry.get(str(photo["photographer"]))
        if photographer is None:
            raise Failed(f"there is no photographer {photo['photographer']}")
        photographer.pop("assignments", None)
        registry.put(photographer["id"], photographer)
    with Table("photoAssignments") as assignments:
        assignments.delete(photo["taskToken"])
    return {**photo, "outcome": "photo taken"}
