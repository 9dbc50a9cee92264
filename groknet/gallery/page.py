"""The groups of failing searches as one HTML page, with their photos where these are kept."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from groknet.gallery.failing import Wanted

_MOST_PHOTOS = 12
_MOST_GROUPS = 200
_STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
section{border-top:1px solid #8886;padding:1rem 0}h2{font-size:1.05rem;margin:0}.photos{display:flex;flex-wrap:wrap;
gap:.4rem}img{height:8rem;border-radius:.4rem}.soft{opacity:.7}
"""


def unanswered_page(groups: Sequence[Wanted]) -> str:
    """The page, the group that misses most first. It needs no other file."""
    parts = [_group(number, group) for number, group in enumerate(groups[:_MOST_GROUPS], 1)]
    more = f"<p>{len(groups) - _MOST_GROUPS} more groups.</p>" if len(groups) > _MOST_GROUPS else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Searches without an answer</title><style>{_STYLE}</style></head><body>"
        "<h1>Searches without an answer</h1><p>Each group is one kind of thing that people searched for and that the "
        "catalogue lacks. The groups that are missed most come first.</p>"
        f"{''.join(parts) or '<p>There are none.</p>'}{more}</body></html>\n"
    )


def _group(number: int, group: Wanted) -> str:
    photos = [one.photo for one in group.members if one.photo][:_MOST_PHOTOS]
    shown = "".join(f'<img alt="" src="data:image/webp;base64,{base64.b64encode(photo).decode()}">' for photo in photos)
    best = f"looks most like <b>{escape(group.category)}</b>" if group.category else "looks like no category"
    days = sorted({datetime.fromtimestamp(one.at, UTC).date() for one in group.members})
    return (
        f"<section><h2>{number}. {group.failed} of {group.searches} searches found nothing close</h2>"
        f'<p class="soft">{best}; nearest listing {100 * group.likeness:.0f} % alike; {days[0]} to {days[-1]}</p>'
        f'<div class="photos">{shown}</div></section>'
    )
