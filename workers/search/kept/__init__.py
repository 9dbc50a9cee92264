"""What the search service keeps of searches and of people's judgements, if its operator and the person both agree.

`ledger.py` is the file with its bounds, `answers.py` has the types of `POST /v1/feedback`. Routes in `http/` write to it:
`keeping.py` after a search, `feedback_routes.py` what people judge.
"""
