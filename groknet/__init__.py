"""The front door: the `groknet` command, its configuration and the demo.

It composes the rooms (which worker runs on which stream, store, engine and folder) and shows what they hold. What a
room knows how to do stays there: nothing here decodes, predicts, indexes or decides what a listing's state is.
"""
