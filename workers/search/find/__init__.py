"""From a photo to the listings that look like it: recognise, ask the indexers, order, vote, and name.

Nothing in here knows HTTP requests.
"""
