"""The apiserver's HTTP: requests in, one method of the state, an answer. It decides nothing.

Open `http` for what all share, `watch` for the stream that everybody follows.

    http        reading requests; errors as one line of text
    watch       /state and /watch
    functions   /system/functions, /system/scale-function
    namespaces  /system/namespace
    secrets     /system/secrets, and the tokens' digests for the gateway
    logs        /system/logs
    instances   /instances: what node agents report and ask
    metrics     /metrics
"""
