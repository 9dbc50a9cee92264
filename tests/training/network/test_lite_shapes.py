"""The shapes of the Lite trunks against their published tables."""

from __future__ import annotations

from training.network.lite_shapes import LITE, lite_stages


def test_channels_and_depths_are_the_published_ones() -> None:
    """Tan & Le 2019 for B0 and B2; Lite keeps the depth of the first and the last stage at 1."""
    small, large = lite_stages(*LITE["efficientnet_lite0"]), lite_stages(*LITE["efficientnet_lite2"])
    assert [stage[3] for stage in small] == [16, 24, 40, 80, 112, 192, 320]
    assert [stage[4] for stage in small] == [1, 2, 2, 3, 3, 4, 1]
    assert [stage[3] for stage in large] == [16, 24, 48, 88, 120, 208, 352]
    assert [stage[4] for stage in large] == [1, 3, 3, 4, 4, 5, 1]
