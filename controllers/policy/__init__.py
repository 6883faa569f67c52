"""A provider's own rules about calls: what they say, which calls they mean now, and how they are kept.

They stand above the call graph, which is of intents. Rows are made of them in desired/calls, at priorities of pipeline;
POST /policies, and what each policy has counted, is in northbound/.

A call that a policy denies is counted as a drop, `denied-by-policy`: desired/calls makes its row, northbound/counters
names it. A call that nobody allows is another drop, `not-in-call-graph`: desired/base.

Open `book` first: its beginning says which rule wins.

    rules  what one policy says, and what is refused when it is read
    book   several together: the calls that they mean, kept current at the cost of what a change touches
    file   the file that they outlive the controller in
"""
