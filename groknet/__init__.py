"""The `groknet` command, its configuration and the demo.

This room composes the others (which worker runs on which stream, store, engine and folder) and shows what they hold.
The work itself stays in the other rooms: nothing here decodes, predicts, indexes or decides the state of a listing.
"""
