"""Registers a photographer, who is free to take as many photos as there are registrations."""

from .common.keyvalue import Table
from .common.wire import Failed, answering, read


@answering
def handle(event):
    photographer = (read(event).get("data") or {}).get("photographer") or {}
    if not isinstance(photographer.get("id"), str):
        raise Failed("data.photographer needs an id")
    with Table("photographerRegistry") as registry:
        registry.put(photographer["id"], {**photographer, "assignments": 0})
