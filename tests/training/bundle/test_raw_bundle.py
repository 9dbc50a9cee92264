"""A bundle of either kind of hash layer: what its parity file says of the layer, and which codec it declares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.recognition import build_engine
from engines.recognition.outputs.hash_layer import BIAS, WEIGHT
from schemas.manifest import PARITY_FILE, Training
from schemas.taxonomy import Taxonomy
from training.bundle.onnx_graph import deployable
from training.bundle.raw_bundle import write_raw
from training.bundle.spreading_layer import SpreadingLayer
from training.bundle.taxonomy import extend_taxonomy
from training.data.labels import Targets
from training.network.model import BITS, EMBEDDING, Network
from training.recipe import HeadSpec, Recipe, Schedule

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("layer", "codec"), [("rotation", "linear-sign (rotation)"), ("spreading", "mlp-sign (spreading)")]
)
def test_every_hash_layer_can_be_exported(tmp_path: Path, layer: str, codec: str) -> None:
    torch.manual_seed(0)
    network = Network("efficientnet_lite0", {"kind": 3}, pretrained=False)
    if layer == "spreading":
        network.hash_layer = SpreadingLayer(EMBEDDING, BITS)
        torch.nn.init.normal_(network.hash_layer.correction.weight)
    spec = HeadSpec(id="kind", column="kind")
    heads = [Targets(spec, ["a", "b", "c"], np.empty(0, np.int64))]
    recipe = Recipe(name="r", size=64, cache_size=64, datasets=[], heads=[spec], schedule=Schedule(steps=1))
    facts = Training(recipe="r", command="none", notes={"hash": layer})
    taxonomy = extend_taxonomy(Taxonomy(heads=[]), heads)
    manifest = write_raw(recipe, deployable(network), heads, tmp_path, taxonomy=taxonomy, facts=facts)
    assert manifest.hash.codec == codec
    parity = np.load(tmp_path / PARITY_FILE)
    assert (WEIGHT in parity, BIAS in parity) == ((True, True) if layer == "rotation" else (False, False))
    if layer == "rotation":
        logits = parity["embedding"] @ parity[WEIGHT].astype(np.float32).T + parity[BIAS].astype(np.float32)
        assert np.array_equal(np.packbits(logits > 0, axis=1), parity["hash"])
    engine = build_engine(tmp_path, threads=1)
    assert np.array_equal(engine.infer(parity["photos"]).hash, parity["hash"])
    engine.close()
