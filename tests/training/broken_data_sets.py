"""Tables and folders as strangers bring them: what each one is, and the right verdict, written down by hand.

A case is refused with a text that contains every part of `refused`, or read as `read` says: path → (split, label).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Read = dict[str, tuple[str, str]]
CLASSES = ("apple", "pear")
TREE = [f"{kind}/{n}.jpg" for kind in CLASSES for n in range(2)]


@dataclass(frozen=True)
class Case:
    """A data set that `make` writes into an empty folder."""

    name: str
    make: Callable[[Path], None]
    reader: str = "csv"
    refused: tuple[str, ...] = ()
    read: Read | None = None


def photos(folder: Path, *names: str) -> None:
    """A small JPEG of noise under each name."""
    for number, name in enumerate(names):
        file = io.BytesIO()
        noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(noise).save(file, "JPEG")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(file.getvalue())


def table(content: str | bytes, name: str = "labels.csv", *more: str) -> Callable[[Path], None]:
    """A folder with img/0.jpg to img/3.jpg and a table."""

    def make(folder: Path) -> None:
        photos(folder, *(f"img/{n}.jpg" for n in range(4)), *more)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def tree(*names: str, files: dict[str, bytes] | None = None) -> Callable[[Path], None]:
    """A folder with photos of these names, and other files."""

    def make(folder: Path) -> None:
        photos(folder, *names)
        for name, content in (files or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return make


def below(*splits: str) -> list[str]:
    """The two classes below each split folder."""
    return [f"{split}/{path}" for split in splits for path in TREE]


def _link_to_itself(folder: Path) -> None:
    photos(folder, *below("train", "val", "test"))
    (folder / "train/apple/again").symlink_to(folder / "train", target_is_directory=True)


def _linked_class(folder: Path) -> None:
    photos(folder, *below("train", "val", "test"), "../elsewhere/plum/0.jpg")
    (folder / "train/plum").symlink_to(folder.parent / "elsewhere/plum", target_is_directory=True)


def _shards(*names: str, cell: bytes = b'{"label": "a"}') -> Callable[[Path], None]:
    import tarfile

    def make(folder: Path) -> None:
        photos(folder, "one.jpg")
        photo = (folder / "one.jpg").read_bytes()
        (folder / "one.jpg").unlink()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(folder / name, "w") as tar:
                for member, data in (("1.jpg", photo), ("1.json", cell)):
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))

    return make


TWO: Read = {"img/0.jpg": ("train", "a"), "img/1.jpg": ("val", "b")}


def tree_of(**folders: str) -> Read:
    """What the two classes below the folder of each split are read as."""
    return {f"{name}/{path}": (split, path.split("/")[0]) for split, name in folders.items() for path in TREE}


PLAIN = tree_of(train="train", val="val", test="test")

TABLES = [
    Case(
        "extra cell", table("path,split,label\nimg/0.jpg,train,Shoes, red\n"), refused=("line 2: 4 cells", "quotation")
    ),
    Case(
        "short row",
        table("path,split,label\nimg/0.jpg,train,a\nimg/1.jpg\n"),
        refused=("line 3: 1 cell,", "every cell"),
    ),
    Case("short row, path last", table("split,label,path\ntrain,a,img/0.jpg\ntrain,b\n"), refused=("line 3: 2 cells",)),
    Case(
        "many short rows",
        table("path,split\n" + "img/0.jpg\n" * 9),
        refused=("line 2: 1 cell", "8 more lines are wrong: 3, 4, 5, 6, 7, …"),
    ),
    Case(
        "unknown split", table("path,split\nimg/0.jpg,train\nimg/1.jpg,Trian\n"), refused=("line 3", "'Trian'", "val")
    ),
    Case("split of some rows alone", table("path,split\nimg/0.jpg,train\nimg/1.jpg,\n"), refused=("line 3", "empty")),
    Case("no path column", table("file,split\nimg/0.jpg,train\n"), refused=("line 1", "`path` column", "file, split")),
    Case("no header", table("img/0.jpg,train\nimg/1.jpg,val\n"), refused=("line 1", "`path` column", "img/0.jpg")),
    Case("two columns of one name", table("path,a,a\nimg/0.jpg,1,2\n"), refused=("line 1", "two columns", "'a'")),
    Case("two columns path", table("path,Path\nimg/0.jpg,img/1.jpg\n"), refused=("line 1", "two columns", "'path'")),
    Case("empty file", table(""), refused=("line 1", "`path` column")),
    Case("header alone", table("path,split,label\n"), refused=("no row below",)),
    Case(
        "Latin-1", table("path,label\nimg/0.jpg,hät\n".encode("latin-1")), refused=("line 2", "not UTF-8", "save it as")
    ),
    Case("zeros", table("path,label\nimg/0.jpg,a\0b\n"), refused=("line 2", "NUL", "save it as")),
    Case(
        "UTF-16 without a mark", table("path,label\nimg/0.jpg,a\n".encode("utf-16-le")), refused=("NUL", "save it as")
    ),
    Case("a spreadsheet", table(b"PK\x03\x04" + bytes(60)), refused=("spreadsheet", "save the table as CSV")),
    Case("open quotation mark", table('path,label\nimg/0.jpg,"a\nimg/1.jpg,b\n'), refused=("line 2", "quotation mark")),
    Case("text after a quotation mark", table('path,label\nimg/0.jpg,"a" b\n'), refused=("line 2", "quotation mark")),
    Case("path of another machine", table("path\nC:\\shop\\0.jpg\n"), refused=("line 2", "absolute", "relative")),
    Case("absolute path", table("path\n/etc/hostname\n"), refused=("line 2", "absolute", "relative")),
    Case("path out of the folder", table("path\nimg/../../secret.jpg\n"), refused=("line 2", "out of the folder")),
    Case("address", table("path\nhttps://shop.example/0.jpg\n"), refused=("line 2", "download")),
    Case("empty path", table("path,label\nimg/0.jpg,a\n,b\n"), refused=("line 3", "path ''", "write the photo's file")),
    Case("box in pixels", table("path,box\nimg/0.jpg,10 20 300 400\n"), refused=("line 2", "box", "from 0 to 1")),
    Case("box of three numbers", table("path,box\nimg/0.jpg,0 0 1\n"), refused=("line 2", "box", "four shares")),
    Case(
        "one photo in two splits",
        table("path,split\nimg/0.jpg,train\nimg/1.jpg,test\n./img/0.jpg,test\n"),
        refused=("line 4", "train by line 2", "keep one"),
    ),
    Case("no photo exists", table("path,label\n0.jpg,a\n1.jpg,b\n"), refused=("not one of the 2 photos", "relative")),
    Case(
        "another name", table("path\n", "labels.xlsx"), refused=("there is labels.xlsx", "save the table as labels.csv")
    ),
    Case("two tables", table("path\n", "Labels.csv", "labels.CSV"), refused=("there is Labels.csv, labels.CSV",)),
    Case("no table", tree(*TREE), refused=("labels.csv", "use the reader 'folder'")),
    Case("semicolons", table("path;split;label\nimg/0.jpg;train;a\nimg/1.jpg;val;b\n"), read=TWO),
    Case(
        "semicolons, announced",
        table("sep=;\r\npath;split;label\r\nimg/0.jpg;train;a\r\nimg/1.jpg;val;b\r\n"),
        read=TWO,
    ),
    Case("tabs", table("path\tsplit\tlabel\nimg/0.jpg\ttrain\ta\nimg/1.jpg\tval\tb\n"), read=TWO),
    Case(
        "UTF-16 with tabs, as Excel saves Unicode text",
        table("path\tsplit\tlabel\r\nimg/0.jpg\ttrain\ta\r\nimg/1.jpg\tval\tb\r\n".encode("utf-16")),
        read=TWO,
    ),
    Case("a byte-order mark", table(b"\xef\xbb\xbfpath,split,label\nimg/0.jpg,train,a\nimg/1.jpg,val,b\n"), read=TWO),
    Case("old Mac line ends", table("path,split,label\rimg/0.jpg,train,a\rimg/1.jpg,val,b\r"), read=TWO),
    Case("quoted names", table('"path";"split";"label"\n"img/0.jpg";"train";"a"\n"img/1.jpg";"val";"b"\n'), read=TWO),
    Case("blanks", table("path, split, label\nimg/0.jpg, train, a\nimg/1.jpg , val , b\n"), read=TWO),
    Case("empty rows", table("\npath,split,label\n\nimg/0.jpg,train,a\n,,\nimg/1.jpg,val,b\n,,\n"), read=TWO),
    Case("a comma too many", table("path,split,label\nimg/0.jpg,train,a,\nimg/1.jpg,val,b,\n"), read=TWO),
    Case("the index of pandas", table(",path,split,label\n0,img/0.jpg,train,a\n1,img/1.jpg,val,b\n"), read=TWO),
    Case("capital letters", table("Path,SPLIT,label\nimg/0.jpg,Train,a\nimg/1.jpg,Validation,b\n"), read=TWO),
    Case("other words", table("path,split,label\nimg/0.jpg,training set,a\nimg/1.jpg,dev,b\n"), read=TWO),
    Case("Windows paths", table("path,split,label\nimg\\0.jpg,train,a\n.\\img\\1.jpg,val,b\n"), read=TWO),
    Case(
        "another case of the name",
        table("path,split,label\nimg/0.jpg,train,a\nimg/1.jpg,val,b\n", "Labels.CSV"),
        read=TWO,
    ),
    Case(
        "ä in two characters",
        table("path,split,label\nimg/a\u0308.jpg,train,a\nimg/1.jpg,val,b\n", "labels.csv", "img/\xe4.jpg"),
        read={"img/\xe4.jpg": ("train", "a"), "img/1.jpg": ("val", "b")},
    ),
    # `printf %s img/0.jpg | sha256sum` begins with e3, which is .89 of ff, and img/1.jpg with fd, which is .99
    Case(
        "no split column",
        table("path,label\nimg/0.jpg,a\nimg/1.jpg,b\n"),
        read={"img/0.jpg": ("train", "a"), "img/1.jpg": ("test", "b")},
    ),
]

FOLDERS = [
    Case(
        "capital splits",
        tree(*below("Training", "Validation", "Test")),
        "folder",
        read=tree_of(train="Training", val="Validation", test="Test"),
    ),
    Case(
        "the sets of Kaggle",
        tree(*below("training_set", "dev_set", "test_set")),
        "folder",
        read=tree_of(train="training_set", val="dev_set", test="test_set"),
    ),
    Case(
        "a zip of a Mac",
        tree(
            *below("train", "val", "test"),
            files={"__MACOSX/train/apple/._0.jpg": b"\0\5\x16\7", "train/.DS_Store": b"x"},
        ),
        "folder",
        read=PLAIN,
    ),
    Case(
        "a folder of Windows",
        tree(*below("train", "val", "test"), files={"train/apple/Thumbs.db": b"x", "desktop.ini": b"x"}),
        "folder",
        read=PLAIN,
    ),
    Case(
        "notes beside the splits",
        tree(*below("train", "val", "test"), files={"docs/readme.md": b"x", "annotations/0.xml": b"<x/>"}),
        "folder",
        read=PLAIN,
    ),
    Case("a link to itself", _link_to_itself, "folder", read=PLAIN),
    Case("a linked class", _linked_class, "folder", read=PLAIN | {"train/plum/0.jpg": ("train", "plum")}),
    Case("no photos", tree(files={"apple/0.txt": b"x"}), "folder", refused=("no photo in the layout 'folder'",)),
    Case("photos without classes", tree("0.jpg", "1.jpg"), "folder", refused=("lies in no class folder",)),
    Case("one more folder", tree(*below("train", "val"), "docs/0.jpg"), "folder", refused=("'train', 'val'", "'docs'")),
    Case("train as a class", tree("car/0.jpg", "train/0.jpg"), "folder", refused=("'train'", "beside them 'car'")),
    Case("two folders for one split", tree(*below("val", "valid")), "folder", refused=("'val', 'valid'", "mean 'val'")),
    Case(
        "one folder too deep",
        tree(*below("fruits/train", "fruits/test")),
        "folder",
        refused=("give the folder", "fruits"),
    ),
    Case(
        "splits inside classes",
        tree(*(f"{kind}/{split}/0.jpg" for kind in CLASSES for split in ("train", "test"))),
        "folder",
        refused=("lie inside 'apple'", "test/apple/photo.jpg"),
    ),
    Case("splits twice", tree(*below("training_set/training_set")), "folder", refused=("contain split folders again",)),
    Case(
        "shards of a Mac",
        _shards("train.tar", "__MACOSX/._train.tar"),
        "webdataset",
        read={"train.tar/1.jpg": ("train", "a")},
    ),
    Case(
        "a shard with capitals",
        _shards("Testing-0.tar", "VALID/1.tar", "x/0.tar", cell=b'{"label": "a"}'),
        "webdataset",
        read={
            "Testing-0.tar/1.jpg": ("test", "a"),
            "VALID/1.tar/1.jpg": ("val", "a"),
            "x/0.tar/1.jpg": ("train", "a"),
        },
    ),
    Case(
        "a split with capitals",
        _shards("test.tar", cell=b'{"label": "a", "split": "Training"}'),
        "webdataset",
        read={"test.tar/1.jpg": ("train", "a")},
    ),
    Case("no such split", _shards("a.tar", cell=b'{"split": "x"}'), "webdataset", refused=("its split is 'x'",)),
    Case("a deep nest", _shards("a.tar", cell=b"[" * 90_000), "webdataset", refused=("labels cannot be read",)),
    Case(
        "half a surrogate", _shards("a.tar", cell=b'{"a": "\\ud800"}'), "webdataset", refused=("labels cannot be read",)
    ),
]

CASES = TABLES + FOLDERS
