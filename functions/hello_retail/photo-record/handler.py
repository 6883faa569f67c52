"""Records an assignment under its task token."""

from .common.keyvalue import Table
from .common.wire import answering, read


@answering
def handle(event):
    request = read(event)
    data = request["data"]
    token = data["tasks"]["taskToken"]
    with Table("photoAssignments") as assignments:
        assignments.put(
            token,
            {
                "updatedBy": "photo-record",
                "taskToken": token,
                "taskEvent": "photographer-assigned",
                "status": "pending",
                "id": data["id"],
            },
        )
    return request
