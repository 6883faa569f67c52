"""The command line: one module a verb, `<verb>_verb`, each with the click command `command` of that name.

A verb reads its options, asks a room below for what it needs, and prints; it decides nothing that another verb, an
experiment or a test might need as well. Errors are `testbed.model.errors`: one sentence and an exit code.

Open `main` first: it finds the verb and turns what goes wrong into words.

    main        finds and runs the verb
    common      what verbs share: the lab that is meant, tables and JSON
    app_common  what the verbs about applications share (`app_verb`, `app_show`, `app_matrix`, `app_state`)

A new verb is a new module, and its line in `main.VERBS`.
"""
