"""The types of `POST /v1/feedback`."""

from __future__ import annotations

import msgspec


class FeedbackRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON body of `POST /v1/feedback`.

    `consent`: the person agrees that this is kept; it must be true. `epoch` and `hash`: of the answer that is judged;
    `query_listing` instead of `hash` if a stored listing was searched with. `right`: whether `listing_id` shows the
    same product (and, if given, its photo `image_id`), or whether `label` of `head` is true of the photo.
    """

    consent: bool
    epoch: str
    hash: str | None = None
    query_listing: str | None = None
    right: bool
    listing_id: str | None = None
    image_id: str | None = None
    head: str | None = None
    label: str | None = None


class FeedbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/feedback`: the judgement is kept for so many days."""

    kept: bool
    days: int
