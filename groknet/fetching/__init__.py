"""Fetches what a list of addresses or a sitemap names: photos, and the products of web pages. It is polite to hosts.

`crawl.py` runs it, `progress_file.py` is what a later run goes on from, `schedule.py` decides when a host is asked
again, `robots.py` what it allows, and `contents.py` what an answer is.
"""
