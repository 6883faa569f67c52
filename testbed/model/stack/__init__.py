"""stack.yaml, in OpenFaaS's form, to `testbed.model.application.Application`; every mistake named by file and line.

It does not build, deploy, or know a cluster; which URLs an instance is started with is `testbed.model.rewrite`'s.

Open `stack_file` first.

    stack_file    the file: `load` it from the disk, `parse` its text, `select` some of its functions
    run_keys      the keys that say what a function runs with: secrets, limits, requests, constraints; and copies
    callees       URLs by which a function's environment names the functions that it calls
    surroundings  what a stack.yaml refers to on the disk
    yaml_nodes    YAML that knows its lines; ${VAR}
"""
