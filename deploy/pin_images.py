"""Pins the images of others by digest: `python -m deploy.pin_images`, on a machine with Docker and a registry.

    python -m deploy.pin_images --dry-run     # which images, and what would be asked
    python -m deploy.pin_images               # asks for the digests, and writes deploy/compose.pinned.yaml
    python -m deploy.pin_images --check       # exit code 1 while an image has no digest there

A version such as `5.0.9` is a name that a registry can give to other bytes later. A digest is the bytes. The digests
are not in this repository, because nobody could look them up where it was made. So a deployment pins them itself, once
for each version.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
PINNED = "compose.pinned.yaml"
_COMPOSE = ("compose.yaml", "compose.system.yaml")
_OURS = "groknet:"  # built here: its digest is known after the build
_SERVICE = re.compile(r"^  (?P<service>[\w-]+):(?:\n(?!  \S|\S).*)*?\n    image: (?P<image>\S+)$", re.MULTILINE)
_PYTHON = re.compile(r"^ARG PYTHON=(\S+)$", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIMEOUT_S = 120.0


class Image(NamedTuple):
    """An image of somebody else, and the Compose service that runs it; empty for the base of our own image."""

    service: str
    name: str


class CannotPin(Exception):
    """A digest cannot be had. The message says why."""


def images(folder: Path = FOLDER) -> list[Image]:
    """The images of others that the Compose files and the Dockerfile name."""
    found = [
        Image(match["service"], match["image"])
        for file in _COMPOSE
        for match in _SERVICE.finditer((folder / file).read_text("utf-8"))
        if not match["image"].startswith(_OURS)
    ]
    for version in _PYTHON.findall((folder / "image" / "Dockerfile").read_text("utf-8")):
        found.append(Image("", f"python:{version}"))
    return found


def question(image: str) -> list[str]:
    """The command that asks a registry for the digest of an image with all its platforms."""
    return ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]


def digest(image: str) -> str:
    """Ask for the digest. Raises CannotPin if there is no Docker, no registry or no such image."""
    try:
        done = subprocess.run(question(image), capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotPin(f"{image}: {error}; run this on a machine with Docker and a registry") from None
    found = done.stdout.strip()
    if done.returncode or not _DIGEST.fullmatch(found):
        raise CannotPin(f"{image}: {(done.stderr or found).strip() or 'no answer'}")
    return found


def override(digests: Mapping[Image, str]) -> str:
    """The text of the Compose file that pins the services. It is given after the other two."""
    lines = ["# Written by `python -m deploy.pin_images`. Give it as the last -f of docker compose.", "services:"]
    for image, found in digests.items():
        if image.service:
            lines += [f"  {image.service}:", f"    image: {image.name}@{found}"]
    return "\n".join(lines) + "\n"


def unpinned(folder: Path = FOLDER) -> list[Image]:
    """The images of Compose services that have no digest yet, or that of another version."""
    file = folder / PINNED
    text = file.read_text("utf-8") if file.exists() else ""
    pinned = {match["service"]: match["image"] for match in _SERVICE.finditer(text)}
    wanted = [image for image in images(folder) if image.service]
    return [image for image in wanted if not _is_pinned(image, pinned.get(image.service, ""))]


def _is_pinned(image: Image, text: str) -> bool:
    name, _, found = text.partition("@")
    return name == image.name and _DIGEST.fullmatch(found) is not None


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.pin_images", description=(__doc__ or "").splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--dry-run", action="store_true", help="say what would be asked, and ask nothing")
    which.add_argument("--check", action="store_true", help=f"fail while an image has no digest in deploy/{PINNED}")
    asked = parser.parse_args(arguments)
    if asked.dry_run:
        for image in images(folder):
            print(f"{image.service or 'base image'}: {' '.join(question(image.name))}")
        return 0
    if asked.check:
        left = unpinned(folder)
        for image in left:
            print(f"{image.service}: {image.name} has no digest; run `python -m deploy.pin_images`", file=sys.stderr)
        return 1 if left else 0
    try:
        digests = {image: digest(image.name) for image in images(folder)}
    except CannotPin as error:
        print(error, file=sys.stderr)
        return 1
    (folder / PINNED).write_text(override(digests), "utf-8")
    print(f"deploy/{PINNED} is written; give it as the last -f of docker compose")
    for image, found in digests.items():
        if not image.service:
            print(f"docker build: --build-arg PYTHON={image.name.partition(':')[2]}@{found}")
        else:
            print(f"kustomize, in your overlay: kustomize edit set image {image.name.partition(':')[0]}@{found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
