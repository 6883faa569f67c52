import time


def handle(event, context):
    query = event.query
    time.sleep(float(query.get("s", 0)))
    if "fail" in query:
        raise ValueError("as asked")
    if "echo" in query:
        return event.body
    if "header" in query:
        return event.headers.get(query["header"], "")
    if "made" in query:
        return {"statusCode": 201, "body": "made", "headers": {"X-Made": "yes", "Content-Type": "text/plain"}}
    return query.get("say", "slept")
