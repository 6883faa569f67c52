"""The image's folder must hold a handler; this function is served by the program `attack`, made from what lies here."""


def handle(event, context):
    return {"statusCode": 500, "body": "attack is to be served"}
