"""Parts that the OpenAPI document repeats: parameters, photo bodies, answers and problems."""

from __future__ import annotations

from typing import Any

from engines.pixels import formats_taken
from workers.http.problems import MEDIA_TYPE
from workers.search.http.openapi import examples
from workers.search.settings import SearchSettings

Document = dict[str, Any]
REF = "#/components/schemas/{name}"
_PROBLEMS = {
    400: "The request cannot be read",
    401: "No token, or an unknown one; send `Authorization: Bearer TOKEN`",
    403: "This service keeps no feedback or takes no typed queries, or the person did not agree",
    404: "Not found",
    408: "The body did not arrive in time",
    409: "The listing has no hashes of this epoch; back-fill it",
    410: "The listing was removed",
    413: "Too many bytes or pixels",
    415: "Not a photo of a format that is taken: JPEG, PNG, WebP, AVIF, or HEIC with the extra `heif`",
    422: "A parameter, a field or the photo is wrong; `detail` names it",
    429: "Too many requests or photos of this client; each photo of a form and each product of `detect=all` counts as "
    "a photo. Come back after `Retry-After` seconds",
    500: "An internal error",
    503: "Busy, starting, or the index or the store does not answer; come back after `Retry-After` seconds",
}
_ANYWHERE = (401, 429, 500, 503)


def answer(description: str, name: str, example: Document) -> Document:
    """The answer 200 with a body of the type `name`."""
    content = {"schema": {"$ref": REF.format(name=name)}, "example": example}
    return {"description": description, "content": {"application/json": content}}


def answers(description: str, forms: dict[str, tuple[str, Document]]) -> Document:
    """The answer 200 with a body of one of several types, by a name for the example: its type and the example."""
    schema = {"anyOf": [{"$ref": REF.format(name=name)} for name, _ in forms.values()]}
    content = {"schema": schema, "examples": {form: {"value": example} for form, (_, example) in forms.items()}}
    return {"description": description, "content": {"application/json": content}}


def problems(*statuses: int) -> Document:
    """The answers with these statuses, and with those that every route may have."""
    content = {MEDIA_TYPE: {"schema": {"$ref": REF.format(name="ProblemAnswer")}, "example": examples.PROBLEM}}
    retry = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return {
        str(status): {
            "description": _PROBLEMS[status],
            "content": content,
            **({"headers": retry} if status in (429, 503) else {}),
        }
        for status in sorted({*statuses, *_ANYWHERE})
    }


def number(name: str, description: str, default: int, most: int, least: int = 1) -> Document:
    """A whole number in the query."""
    schema = {"type": "integer", "minimum": least, "maximum": most, "default": min(default, most)}
    return _query(name, description, schema)


def flag(name: str, description: str, default: bool) -> Document:
    """A flag in the query: `true` or `false`."""
    return _query(name, description, {"type": "boolean", "default": default})


def language(settings: SearchSettings) -> Document:
    """The parameter `lang`."""
    about = (
        "Language of display names (BCP 47). Without it, the language of the header Accept-Language counts if the "
        f"model has names in it, and else the default, {settings.language}."
    )
    return _query("lang", about, {"type": "string"})


def box() -> Document:
    """The parameter `box`: four numbers."""
    about = (
        "The subject: left,top,right,bottom as shares (0 to 1) of the width and height of the upright photo, after its "
        "EXIF orientation is applied. It is cut out before the photo is resized. Default: the whole photo."
    )
    schema = {"type": "string", "pattern": "^[0-9.]+(,[0-9.]+){3}$"}
    return {**_query("box", about, schema), "example": "0.1,0.15,0.85,0.95"}


def detect() -> Document:
    """The parameter `detect`."""
    about = (
        "What is looked for in the photo: its most confident product (`subject`), the product that is nearest to a "
        "listing, or the whole photo if a listing is near to that (`nearest`, for searches), all of its products, "
        "each with an answer of its own in `boxes` (`all`), or nothing (`off`). A photo without a product counts as "
        "a whole. Not together with `box`. Default: `subject` if the listings were indexed with a detector, else "
        "`off`. It needs a detector."
    )
    return _query("detect", about, {"type": "string", "enum": ["off", "subject", "nearest", "all"]})


def typed(settings: SearchSettings) -> Document:
    """The parameter `q`."""
    about = "Words that say what the photo should show, in any language that the labels have names in."
    return {**_query("q", about, typed_text(settings)), "example": "red mug"}


def typed_text(settings: SearchSettings) -> Document:
    """The schema of a typed query."""
    return {"type": "string", "minLength": 1, "maxLength": settings.max_query_chars}


def group() -> Document:
    """The parameter `group`."""
    about = (
        "`product`: the nearest listing of each product, with the number of its offers. It needs the products worker; "
        "a listing without a product stands for itself. Default: every listing."
    )
    return _query("group", about, {"type": "string", "enum": ["product"]})


def filters() -> list[Document]:
    """The parameters `category` and `state`. Each may be given several times."""
    schema = {"type": "array", "items": {"type": "string", "maxLength": 256}, "maxItems": 16}
    return [
        {**_query(name, f"Only listings with this {name}, as the seller sent it. Repeat it to allow several.", schema)}
        for name in ("category", "state")
    ]


def listing_path() -> Document:
    """The parameter `listing_id` in the path."""
    return {
        "name": "listing_id",
        "in": "path",
        "required": True,
        "description": "May contain slashes, plain or percent-encoded.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$"},
        "example": "shop/mug-17",
    }


def image_query() -> Document:
    """The parameter `image_id` in the query, for one photo of a listing."""
    schema = {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$"}
    return _query("image_id", "Compare only this photo of the listing. Default: all photos", schema)


def photo_ids() -> list[Document]:
    """The parameters `listing_id` and `image_id` in the query, which name one photo."""
    return [
        {
            "name": name,
            "in": "query",
            "required": True,
            "schema": {"type": "string", "maxLength": 128},
            "example": value,
        }
        for name, value in (("listing_id", "shop/mug-17"), ("image_id", "front"))
    ]


def picture(description: str, *kinds: str) -> Document:
    """The answer 200 with a picture of one of these formats."""
    return {"description": description, "content": {f"image/{kind}": {"schema": {"type": "string"}} for kind in kinds}}


def photo_contents(settings: SearchSettings, most: int = 1, *, typed: bool = False) -> Document:
    """The media types of a body with a photo, or with up to `most` photos in a form, and `typed` words beside them."""
    photo = {"type": "string", "format": "binary", "maxLength": settings.max_upload_bytes}
    several: Document = {"type": "array", "items": photo, "minItems": 1, "maxItems": most}
    form: Document = {"type": "object", "properties": {"photo": several if most > 1 else photo}}
    if typed:
        form["properties"]["q"] = typed_text(settings)
        form["anyOf"] = [{"required": ["photo"]}, {"required": ["q"]}]
    else:
        form["required"] = ["photo"]
    raw = {f"image/{kind}": {"schema": photo} for kind in ("jpeg", "png", "webp", "avif", "heic")}
    return {**raw, "multipart/form-data": {"schema": form}}


def photo_limits(settings: SearchSettings) -> str:
    """The limits of a photo, in words."""
    return f"{formats_taken()}, at most {settings.max_upload_bytes:,} bytes."


def _query(name: str, description: str, schema: Document) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": schema}
