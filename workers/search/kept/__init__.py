"""What the search service keeps of searches and of people's judgements, if its operator and the person both agree.

`ledger.py` is the file with its bounds, `writer.py` the thread that writes to it, and `answers.py` has the types of
`POST /v1/feedback`. Two modules of `http/` write to the file: `keeping.py` after a search, and `feedback_routes.py`
what people judge.
"""
