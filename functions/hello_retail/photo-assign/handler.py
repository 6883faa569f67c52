"""Finds a photographer for a new product: the one with the fewest assignments who has none now.

Each number of assignments is looked for in a scan of its own.
"""

from .common.keyvalue import Table
from .common.wire import answering, read

MOST_ASSIGNMENTS = 4


@answering
def handle(event):
    request = read(event)
    for assignments in range(MOST_ASSIGNMENTS + 1):
        with Table("photographerRegistry") as registry:
            free = [one for one in registry.values() if is_free(one, assignments)]
        if free:
            chosen = {**free[0], "assignment": request["data"]["id"], "state": "busy"}
            with Table("photographerRegistry") as registry:
                registry.put(chosen["id"], chosen)
            return answer(request, free[:1], chosen)
    return {**request, "photographers": [], "assigned": "false", "assignmentComplete": "false"}


def is_free(photographer, assignments):
    return (
        photographer.get("assignments") == assignments
        and photographer["registrations"] > assignments
        and not photographer.get("assignment")
    )


def answer(request, found, chosen):
    return {
        **request,
        "photographers": found,
        "photographer": chosen,
        "assigned": "true",
        "assignmentComplete": "false",
    }
