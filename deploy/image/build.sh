#!/bin/sh
# Makes what an image has of ours, below DEST: a Python environment of locked packages and of groknet's own wheel, with a
# list of all packages (CycloneDX). The Dockerfile runs it, and so does deploy/image_tree.py where there is no Docker.
#
#   sh deploy/image/build.sh SOURCE DEST LOCK
set -eu
source=$1 dest=$2 lock=$3
python=${PYTHON:-python3}         # the interpreter of the environment
installer=${INSTALLER:-$python}   # one that has pip
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

into() { # install into the environment $1; an environment has no pip of its own
    environment=$1
    shift
    "$installer" -m pip --python "$environment/bin/python" --disable-pip-version-check --no-input --quiet "$@"
}

"$python" -m venv --without-pip "$dest"
into "$dest" install --require-hashes --only-binary :all: --no-cache-dir --no-compile -r "$source/deploy/locks/$lock"

# What builds the wheel and the list stays outside.
"$python" -m venv --without-pip "$tools/environment"
into "$tools/environment" install --require-hashes --only-binary :all: --no-cache-dir -r "$source/deploy/locks/image.txt"
into "$tools/environment" wheel --no-deps --no-build-isolation -w "$tools/wheel" "$source"
into "$dest" install --no-deps --no-index --no-compile "$tools"/wheel/groknet-*.whl

mkdir -p "$dest/share/groknet"
"$tools/environment/bin/cyclonedx-py" environment --of JSON -o "$dest/share/groknet/sbom.cdx.json" "$dest/bin/python"

# The tree is read-only later, so it is compiled now. Nobody but its owner may write.
"$dest/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$dest/lib" || true # templates of packages are no Python
chmod -R a+rX,go-w "$dest"
