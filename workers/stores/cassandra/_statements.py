"""All statements. Each is prepared once, which also checks that the tables fit this build.

`USING TIMESTAMP` is the event's time, or one microsecond before it to delete older data.
"""

from __future__ import annotations

from typing import Any

from cassandra import ConsistencyLevel, InvalidRequest  # type: ignore[import-untyped]
from cassandra.cluster import Session  # type: ignore[import-untyped]

from workers.stores.cassandra._errors import DRIVER_ERRORS, meaning
from workers.stores.cassandra._settings import CassandraSettings

_HEAD = "listing_id = ? AND model_version = '' AND image_id = ''"
_SCOPE = "store"
_TEXTS = {
    "rows": "SELECT model_version, image_id, event_time, newest, versions, event, body"
    " FROM {ks}.listings WHERE listing_id = ?",
    "heads": "SELECT listing_id, event_time, newest, versions FROM {ks}.listings"
    " WHERE listing_id IN ? AND model_version = '' AND image_id = ''",
    "photo": "SELECT photo FROM {ks}.thumbnails WHERE listing_id = ? AND image_id = ?",
    "ids": "SELECT DISTINCT listing_id, token(listing_id) FROM {ks}.listings"
    " WHERE token(listing_id) > ? AND token(listing_id) <= ? LIMIT ?",
    "clear": "DELETE FROM {ks}.listings USING TIMESTAMP ? WHERE listing_id = ?",
    "put_head": "UPDATE {ks}.listings USING TIMESTAMP ?"
    f" SET event_time = ?, newest = ?, event = ?, versions[?] = ? WHERE {_HEAD}",
    "put_row": "INSERT INTO {ks}.listings (listing_id, model_version, image_id, body) VALUES (?, ?, ?, ?)"
    " USING TIMESTAMP ?",
    "put_whole": "INSERT INTO {ks}.listings (listing_id, model_version, image_id, body) VALUES (?, '', ?, ?)"
    " USING TIMESTAMP ? AND TTL ?",
    "clear_whole": "DELETE FROM {ks}.listings USING TIMESTAMP ?"
    " WHERE listing_id = ? AND model_version = '' AND image_id > ''",
    "clear_rows": "DELETE FROM {ks}.listings USING TIMESTAMP ? WHERE listing_id = ? AND model_version > ''",
    "clear_event": f"DELETE event, versions FROM {{ks}}.listings USING TIMESTAMP ? WHERE {_HEAD}",
    "put_marker": f"UPDATE {{ks}}.listings USING TIMESTAMP ? SET event_time = ?, newest = ? WHERE {_HEAD}",
    "clear_photos": "DELETE FROM {ks}.thumbnails USING TIMESTAMP ? WHERE listing_id = ?",
    "put_photo": "INSERT INTO {ks}.thumbnails (listing_id, image_id, photo) VALUES (?, ?, ?) USING TIMESTAMP ?",
    "setting": "SELECT value, version FROM {ks}.settings WHERE name = ?",
    "make_setting": "INSERT INTO {ks}.settings (name, version, value, writer) VALUES (?, 1, ?, ?) IF NOT EXISTS",
    "change_setting": "UPDATE {ks}.settings SET version = ?, value = ?, writer = ? WHERE name = ?"
    " IF version = ? AND writer != ?",
    "announce": f"INSERT INTO {{ks}}.workers (scope, worker, value) VALUES ('{_SCOPE}', ?, ?) USING TTL ?",
    "announced": f"SELECT worker, value FROM {{ks}}.workers WHERE scope = '{_SCOPE}'",
    "withdraw": f"DELETE FROM {{ks}}.workers WHERE scope = '{_SCOPE}' AND worker = ?",
    "keep_blob": "INSERT INTO {ks}.blobs (digest, body) VALUES (?, ?)",
    "blob": "SELECT body FROM {ks}.blobs WHERE digest = ?",
    "put_product": "INSERT INTO {ks}.products (product_id, founded, founder, survivor) VALUES (?, ?, ?, null)",
    "put_alias": "INSERT INTO {ks}.products (product_id, founded, founder, survivor) VALUES (?, ?, ?, ?)",
    "drop_product": "DELETE FROM {ks}.products WHERE product_id = ?",
    "product": "SELECT product_id, founded, founder, survivor FROM {ks}.products WHERE product_id = ?",
    "all_products": "SELECT product_id, founded, founder, survivor, token(product_id) FROM {ks}.products"
    " WHERE token(product_id) > ? AND token(product_id) <= ? LIMIT ?",
    "put_membership": "INSERT INTO {ks}.memberships (listing_id, product_id, since) VALUES (?, ?, ?)",
    "drop_membership": "DELETE FROM {ks}.memberships WHERE listing_id = ?",
    "memberships": "SELECT listing_id, product_id FROM {ks}.memberships WHERE listing_id IN ?",
    "all_memberships": "SELECT listing_id, product_id, since, token(listing_id) FROM {ks}.memberships"
    " WHERE token(listing_id) > ? AND token(listing_id) <= ? LIMIT ?",
    "put_member": "INSERT INTO {ks}.members (product_id, listing_id) VALUES (?, ?)",
    "drop_member": "DELETE FROM {ks}.members WHERE product_id = ? AND listing_id = ?",
    "drop_members": "DELETE FROM {ks}.members WHERE product_id = ?",
    "members": "SELECT listing_id FROM {ks}.members WHERE product_id = ?",
    "all_members": "SELECT product_id, listing_id, token(product_id) FROM {ks}.members"
    " WHERE token(product_id) > ? AND token(product_id) <= ? LIMIT ?",
    "put_probe": "INSERT INTO {ks}.probes (probe, cell) VALUES (?, ?)",
    "probe": "SELECT cell FROM {ks}.probes WHERE probe = ?",
}
_COMPARING = ("make_setting", "change_setting")
"""Lightweight transactions. They are not marked idempotent: a second try beside the first could see the effect of the
first and take it for another writer's. They involve all datacenters; otherwise two datacenters could have different
winners."""


class Statements:
    """Prepared statements by name. All except `_COMPARING` are idempotent. None is paged, so an answer shows one
    moment."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepare all. Raises ConfigError if a table or a column is missing, and Transient if no node answers."""
        self._prepared: dict[str, Any] = {}
        try:
            for name, text in _TEXTS.items():
                statement = session.prepare(text.format(ks=settings.keyspace))
                statement.is_idempotent = name not in _COMPARING
                if name in _COMPARING:
                    statement.consistency_level = ConsistencyLevel.QUORUM
                    statement.serial_consistency_level = ConsistencyLevel.SERIAL
                statement.fetch_size = None
                self._prepared[name] = statement
        except (*DRIVER_ERRORS, InvalidRequest) as error:
            raise meaning(error, settings, "preparing statements") from None

    def bind(self, name: str, *values: object) -> Any:
        """A statement with its values. Pass `UNSET_VALUE`, never None, which would write a tombstone."""
        return self._prepared[name].bind(values)
