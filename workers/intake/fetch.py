"""The intake: fetches the bytes of one photo by its scheme, and tries again after an error that may pass."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from schemas.errors import Invalid, Transient
from schemas.events import EXPIRED_SCHEME, ImageRef
from workers.intake.addresses import refuse
from workers.intake.files import read_file
from workers.intake.settings import IntakeSettings
from workers.intake.web import Grown, WebClient
from workers.intake.wire import Deadline
from workers.watching.metrics import FETCH_BYTES, FETCH_ERRORS, STAGE_SECONDS

_SECONDS = STAGE_SECONDS.labels("fetch")


class Intake:
    """Fetches photos within the limits of its settings. Thread-safe."""

    def __init__(self, settings: IntakeSettings) -> None:
        self._settings = settings
        self._web = WebClient(settings)

    def fetch(self, ref: ImageRef, until: float | None = None, grown: Grown | None = None) -> bytes:
        """Return the bytes of a photo, not decoded. Blocks for at most `attempts_time_cap_s` seconds, and not beyond
        `until` (`time.monotonic()`). `grown` is told how many bytes of a web answer are here, each time more come; what
        it raises ends the fetch.

        Raises:
            Invalid: stage `fetch`; this event's photo can never be fetched.
            Transient: stage `fetch`; all attempts failed, but a later one may succeed.
        """
        started = time.monotonic()
        try:
            data = self._by_scheme(ref, until, grown)
            if not data:
                raise refuse("empty", f"images[{ref.image_id}]: no bytes; send the photo itself")
        except (Invalid, Transient) as error:
            FETCH_ERRORS.labels(error=error.error).inc()
            raise
        FETCH_BYTES.inc(len(data))
        _SECONDS.observe(time.monotonic() - started)
        return data

    def close(self) -> None:
        """End the threads. It may be called again."""
        self._web.close()

    def _by_scheme(self, ref: ImageRef, until: float | None, grown: Grown | None) -> bytes:
        limit = self._settings.max_bytes
        if ref.data is not None:
            if len(ref.data) > limit:
                raise refuse("too_large", f"images[{ref.image_id}].data: larger than max_bytes = {limit}")
            return ref.data
        url = ref.url or ""
        if url[:5].lower() == "file:":
            return self._retried(lambda _: read_file(url, self._settings.allowed_roots, limit), until)
        if url.startswith(EXPIRED_SCHEME):
            text = f"images[{ref.image_id}]: the store no longer keeps this photo (store.keep_inline_photos_days)"
            raise refuse("photo_expired", f"{text}; send the listing's event again")
        return self._retried(lambda deadline: self._web.get(url, deadline, grown), until)

    def _retried(self, attempt: Callable[[Deadline], bytes], until: float | None) -> bytes:
        """Try up to `attempts` times, within the time limits. The pauses are random, so that workers do not all come
        back at once. No other layer repeats a single fetch."""
        s = self._settings
        end = time.monotonic() + s.attempts_time_cap_s
        end = end if until is None else min(end, until)
        number = 1
        while True:
            try:
                return attempt(Deadline(min(end, time.monotonic() + s.total_timeout_s)))
            except Transient:
                pause = random.uniform(0, s.backoff_base_s * 2**number)
                if number >= s.attempts or time.monotonic() + pause >= end:
                    raise
            time.sleep(pause)
            number += 1
