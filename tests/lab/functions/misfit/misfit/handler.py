"""The image's folder must hold a handler; this function is served by misfit.py."""


def handle(event, context):
    return {"statusCode": 500, "body": "misfit.py is to be served"}
