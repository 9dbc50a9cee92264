"""What is done to one event, in the order in which it is done.

fetch (photos of other hosts) → prepare (decode) → infer → pooling → settle (store, publish), and failures for what goes
wrong. The tagger and the back-fill put these stages together, each in its own way.
"""
