"""What the functions of the shop say to each other: compact JSON objects, and JSON answers."""

import json

JSON_HEADERS = {"Content-Type": "application/json"}


class Failed(Exception):
    """The invocation cannot succeed; the text is its answer's error."""


def read(event):
    """The JSON object that came with an invocation."""
    try:
        value = json.loads(event.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Failed("the request's body must be a JSON object")
    return value


def answering(work):
    """A handler for what turns an event into a value: answers 200 with it, or 500 with the error.

    No value is an empty answer.
    """

    def handle(event, context):
        try:
            value = work(event)
        except Failed as failure:
            return {"statusCode": 500, "headers": JSON_HEADERS, "body": compact({"error": str(failure)})}
        except KeyError as missing:
            return {"statusCode": 500, "headers": JSON_HEADERS, "body": compact({"error": f"there is no {missing}"})}
        return {"statusCode": 200, "headers": JSON_HEADERS, "body": "" if value is None else compact(value)}

    return handle


def compact(value):
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))
