"""Call graphs drawn: `testbed.observe.callgraph`'s values in, SVG or text out. Pure.

Open `svg` first.

    svg     the drawing: boxes, wires, words
    layout  where boxes and wires go
    order   in which order the members of a layer stand
    tree    the same graph on the terminal
"""
