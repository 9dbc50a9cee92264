"""What the search service keeps of searches and of people's judgements, if its operator and the person both agree.

`ledger.py` is the file and its bounds, `keeping.py` writes to it after a search, and `feedback.py` answers
`POST /v1/feedback`.
"""
