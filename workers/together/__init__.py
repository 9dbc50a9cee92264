"""Which listings go together: counts of occasions (carts, views, scenes), and what to answer where counts are missing.

`counts` has the occasions of the last 90 days, `follower` keeps them up to date from the topic `listings.together`, and
`scoring` says how much two listings belong together. Search asks them; no process of its own is needed, because the
topic has all data and a restart reads it again.
"""
