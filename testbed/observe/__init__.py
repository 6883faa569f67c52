"""What a person looks at: read from a lab or from an application, made into text, tables and drawings.

It changes nothing in a lab, but `matrix`, which sends packets to see who reaches whom. Verbs print what is made here.

Open the module of what you look at.

    callgraph   an application's call graph with what a lab knows of it
    drawing/    that graph as SVG or as a tree
    matrix      who reaches whom, beside what the call graph says
    tracing     which rows decide about a packet
    shares      how invocations were shared among instances
    coldstarts  where the time of cold starts went
"""
