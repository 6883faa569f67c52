"""Images: a function's handler and its language's template in one folder, ready to be run.

It does not start them (`testbed.platform.agent.launch`). The templates themselves are functions/templates.

    build     makes an image, once for the same contents
    tools     what a template needs of the machine; compiles
    workshop  runs a compiler in a place of its own
"""
