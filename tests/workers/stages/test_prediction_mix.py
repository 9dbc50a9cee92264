"""What a tagger counts: every photo once, in the bins of the baseline, beside the baseline's shares."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from engines.recognition import build_engine
from engines.recognition.drift import baseline_of
from schemas.baseline import NONE, OTHER
from tests.engines.tiny_bundle import SIZE, write_applying_bundle
from workers.stages.prediction_mix import PredictionMix
from workers.watching import metrics
from workers.watching.declared import registry_of


def shown(name: str, **labels: str) -> float | None:
    return registry_of("tagger").get_sample_value(name, labels)


def photos(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


def test_answers_are_counted_in_the_bins_of_the_baseline(tmp_path: Path) -> None:
    write_applying_bundle(tmp_path, model_version="mix-1")
    engine = build_engine(tmp_path)
    first, second = engine.infer(photos(20, 1)), engine.infer(photos(7, 2))
    baseline = baseline_of(engine.manifest, {"first": first})
    mix = PredictionMix(engine.manifest, baseline)
    of = {"version": "mix-1", "head": "colour"}
    for name, share in baseline.heads["colour"].labels.items():
        assert shown("groknet_baseline_share", **of, of="label", bin=name) == share
        assert shown("groknet_predictions_total", **of, of="label", bin=name) == 0
    assert shown("groknet_photos_applying_total", version="mix-1", domain=NONE) == 0
    mix.note(first)
    mix.note(second)
    assert shown("groknet_photos_total", version="mix-1") == 27
    for head in engine.manifest.heads:
        kept = baseline.heads[head.id].labels.keys()
        expected = dict.fromkeys(kept, 0)
        for output in (first, second):
            for row in output.rows(engine.manifest):
                label = next((one.label for one in row[head.id] if one.offered), NONE)
                expected[label if label in kept else OTHER] += 1
        for name, count in expected.items():
            assert shown("groknet_predictions_total", version="mix-1", head=head.id, of="label", bin=name) == count
        scores = [shown("groknet_predictions_total", **of, of="score", bin=f"{(i + 1) / 10:g}") for i in range(10)]
        assert sum(scores) == 27
    engine.close()


def test_a_photo_of_several_boxes_counts_once_by_its_first_box(tmp_path: Path) -> None:
    """Two photos of three boxes and one of a single box, spread over two batches; one batch has no first box."""
    write_applying_bundle(tmp_path, model_version="mix-boxes")
    engine = build_engine(tmp_path)
    output = engine.infer(photos(7, 5))
    baseline = baseline_of(engine.manifest, {"x": output})
    mix = PredictionMix(engine.manifest, baseline)
    mix.note(output, [0, 1, 2, 0, 0, 1, 2])
    mix.note(engine.infer(photos(2, 6)), [3, 4])
    engine.close()
    assert shown("groknet_photos_total", version="mix-boxes") == 3
    rows = output.rows(engine.manifest)
    for head in engine.manifest.heads:
        kept = baseline.heads[head.id].labels.keys()
        expected = dict.fromkeys(kept, 0)
        for row in (rows[0], rows[3], rows[4]):
            label = next((one.label for one in row[head.id] if one.offered), NONE)
            expected[label if label in kept else OTHER] += 1
        for name, count in expected.items():
            assert shown("groknet_predictions_total", version="mix-boxes", head=head.id, of="label", bin=name) == count


def test_without_a_baseline_photos_and_domains_are_counted_alone(tmp_path: Path) -> None:
    write_applying_bundle(tmp_path, model_version="mix-2")
    engine = build_engine(tmp_path)
    mix = PredictionMix(engine.manifest, None)
    mix.note(engine.infer(photos(5, 3)))
    engine.close()
    assert shown("groknet_photos_total", version="mix-2") == 5
    assert shown("groknet_photos_applying_total", version="mix-2", domain="street") is not None
    assert shown("groknet_baseline_applying_share", version="mix-2", domain=NONE) is None
    heads = {s.labels["version"] for m in metrics.PREDICTIONS.collect() for s in m.samples}
    assert "mix-2" not in heads


def test_hidden_heads_are_not_counted(tmp_path: Path) -> None:
    write_applying_bundle(tmp_path, model_version="mix-3")
    engine = build_engine(tmp_path)
    output = engine.infer(photos(5, 4))
    baseline = baseline_of(engine.manifest, {"x": output})
    left = msgspec.structs.replace(engine.manifest, heads=[h for h in engine.manifest.heads if h.id != "words"])
    engine.close()
    PredictionMix(left, baseline).note(output)
    shows = {
        s.labels["head"] for m in metrics.PREDICTIONS.collect() for s in m.samples if s.labels["version"] == "mix-3"
    }
    assert shows == {"colour"}
