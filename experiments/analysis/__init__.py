"""What measurements say: numbers in, findings out.

Pure: nothing here reads a file, talks to a lab, makes load or writes a report, and every random draw is seeded.

Open `statistics` first.

    statistics  paired differences over blocks, their intervals, tests of equivalence, slopes
    wire        the model of the wire and the oracle of connections
    breakdown   what a saving per removed hop is made of
"""
