"""Pascal VOC's XML, one file for each photo (Everingham et al. 2010; VOC2012 development kit, section 3).

Edges are whole pixels counted from 1, and both edges belong to the box: xmin 1 and xmax 500 span a photo of 500 pixels.
Many tools count from 0 instead. If any edge in a folder is below 1, all of its files were counted from 0, and the right
and lower edges do not belong to the box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as Tree

from engines.files import making_folder, write_file
from schemas.errors import ConfigError
from training.boxes.formats.found import Found, PhotoFinder, box_in, sides_of
from training.detection.records import IGNORED, BoxedPhoto

_EDGES = ("xmin", "ymin", "xmax", "ymax")
MOST_BYTES = 10_000_000  # of one file; 500 boxes are 100 KB


def read_voc(folder: Path, photos: Path) -> Found:
    """The boxed photos of a folder of VOC files, subfolders included.

    Args:
        folder: of the XML files.
        photos: the folder of the photos. `filename` is looked for in it; if there is none, a photo with the name of the
            XML file.

    Raises:
        ConfigError: there is no XML file in the folder.
    """
    files = sorted(path for path in folder.rglob("*.xml") if path.is_file())
    if not files:
        raise ConfigError(f"boxes: {folder}: no XML file in it; give the folder with VOC's annotations")
    found, finder = Found(), PhotoFinder(photos)
    roots = list(_parsed(files, folder, found))
    first = 0 if any(_starts_at_zero(root) for _, root in roots) else 1
    for name, root in roots:
        try:
            path = _photo(name, root, finder)
            found.photos.append(_boxed(path, name, root, first, found.skipped))
        except (OSError, ValueError) as error:
            found.skipped[name] = str(error)
    return found


def _parsed(files: Sequence[Path], folder: Path, found: Found) -> Iterator[tuple[str, Tree.Element]]:
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            if file.stat().st_size > MOST_BYTES:
                raise ValueError(f"larger than {MOST_BYTES // 1_000_000} MB")
            data = file.read_bytes()
            if b"<!ENTITY" in data:  # entities can unfold without a bound
                raise ValueError("declares entities, which no VOC file needs")
            root = Tree.fromstring(data)
        except (OSError, ValueError, Tree.ParseError) as error:
            found.skipped[name] = f"cannot be read: {error}"
            continue
        if root.tag == "annotation":
            yield name, root
        else:
            found.skipped[name] = f"begins with <{root.tag}>, not with <annotation>"


def _objects(root: Tree.Element) -> Iterator[tuple[Tree.Element, list[float]]]:
    """Each object with its edges. Raises ValueError if it has none, or an edge is no number."""
    for one in root.iter("object"):
        yield one, [float(one.findtext(f"bndbox/{name}", "").strip()) for name in _EDGES]


def _starts_at_zero(root: Tree.Element) -> bool:
    try:
        return any(min(edges[:2]) < 1 for _, edges in _objects(root))
    except ValueError:
        return False  # named later


def _photo(name: str, root: Tree.Element, finder: PhotoFinder) -> Path:
    folder, filename = (root.findtext(tag, "").strip() for tag in ("folder", "filename"))
    stem = Path(name).with_suffix("").as_posix()
    tried = [f"{folder}/{filename}" if folder and filename else "", filename]
    tried += [f"{stem}{suffix}" for suffix in (".jpg", ".jpeg", ".png", ".webp")]
    for one in filter(None, tried):
        with suppress(ValueError):
            return finder.find(one)
    return finder.find(filename or f"{stem}.jpg")  # raises with the remedy


def _boxed(path: Path, name: str, root: Tree.Element, first: int, skipped: dict[str, str]) -> BoxedPhoto:
    sides = sides_of(path)
    width, height = (float(root.findtext(f"size/{side}", "0") or 0) for side in ("width", "height"))
    if not (width and height):
        width, height = sides.upright
    kept = []
    for place, one in enumerate(root.iter("object"), start=1):
        try:
            x0, y0, x1, y1 = (float(one.findtext(f"bndbox/{edge}", "").strip()) for edge in _EDGES)
            kind = one.findtext("name", "").strip()
            if not kind:
                raise ValueError("the object has no name")
            box = box_in((x0 - first, y0 - first, x1, y1), width, height, sides)
        except ValueError as error:
            skipped[f"{name} object {place}"] = str(error)
            continue
        kept.append((box, IGNORED if one.findtext("difficult", "0").strip() == "1" else kind))
    return BoxedPhoto(path, tuple(box for box, _ in kept), tuple(kind for _, kind in kept))


def write_voc(out: Path, photos: Sequence[BoxedPhoto], root: Path) -> None:
    """Make the folder `out` with one XML file for each photo, in the folders of the photos.

    Sides and boxes are those of the upright photos, edges are counted from 1. An edge between two pixels is written
    with two decimals, which most readers take.

    Args:
        out: must not exist yet.
        photos: with paths below `root`.
        root: folder of the photos.

    Raises:
        OSError: a photo cannot be read, or `out` is there already.
    """
    names = [photo.path.relative_to(root) for photo in photos]
    stems = Counter(name.with_suffix("") for name in names)
    with making_folder(out) as part:
        for photo, name in zip(photos, names, strict=True):
            alone = stems[name.with_suffix("")] == 1  # else a.jpg and a.png would have one file
            file = part / (name.with_suffix(".xml") if alone else f"{name}.xml")
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, _annotation(photo, name))


def _annotation(photo: BoxedPhoto, name: Path) -> bytes:
    width, height = sides_of(photo.path).upright
    root = Tree.Element("annotation")
    _add(root, "folder", "" if name.parent == Path() else name.parent.as_posix())
    _add(root, "filename", name.name)
    size = Tree.SubElement(root, "size")
    for side, value in (("width", width), ("height", height), ("depth", 3)):
        _add(size, side, str(value))
    _add(root, "segmented", "0")
    for box, kind in zip(photo.boxes, photo.kinds, strict=True):
        one = Tree.SubElement(root, "object")
        for field, text in (("name", kind), ("pose", "Unspecified"), ("truncated", "0")):
            _add(one, field, text)
        _add(one, "difficult", str(int(kind == IGNORED)))
        edges = (box.left * width + 1, box.top * height + 1, box.right * width, box.bottom * height)
        bounds = Tree.SubElement(one, "bndbox")
        for edge, place in zip(_EDGES, edges, strict=True):
            _add(bounds, edge, f"{place:.2f}".rstrip("0").rstrip("."))
    Tree.indent(root)
    return Tree.tostring(root, encoding="unicode").encode() + b"\n"


def _add(parent: Tree.Element, tag: str, text: str) -> None:
    Tree.SubElement(parent, tag).text = text
