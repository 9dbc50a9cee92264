"""Principal axes of the frozen trunk's features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.frozen_trunk import principal_axes

torch.set_num_threads(1)


def test_principal_axes_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((300, 6)) * np.array([9, 1, 5, 0.1, 3, 0.5]) + 4).astype(np.float16)
    weight, bias = principal_axes(x, 3)
    projected = x.astype(np.float32) @ weight.numpy().T + bias.numpy()
    assert projected.mean(0) == pytest.approx(np.zeros(3), abs=1e-2)
    assert projected.std(0) == pytest.approx(sorted(x.astype(np.float32).std(0), reverse=True)[:3], rel=0.05)
