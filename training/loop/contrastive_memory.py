"""What the contrastive term remembers of earlier batches."""

from __future__ import annotations

import torch
from torch import Tensor

from training.network.model import EMBEDDING


class Memory:
    """The last `size` weak views: photo number, product, embedding and softened hash, for the contrastive term."""

    def __init__(self, size: int, bits: int, device: torch.device | None = None) -> None:
        self.numbers = torch.full((size,), -1, dtype=torch.int64, device=device)
        self.products = torch.full((size,), -1, dtype=torch.int64, device=device)
        widths = {"embedding": EMBEDDING, "hash": bits}
        self.codes = {name: torch.zeros(size, width, device=device) for name, width in widths.items()}
        self.place = 0

    def same(self, numbers: Tensor, products: Tensor) -> Tensor:
        """`bool [n, size]`: entries of the same photo or product, and those not yet filled."""
        alike = (numbers[:, None] == self.numbers[None]) | (products[:, None] == self.products[None]) & (
            products[:, None] >= 0
        )
        return alike | (self.numbers[None] < 0)

    def add(self, numbers: Tensor, products: Tensor, codes: dict[str, Tensor]) -> None:
        """Overwrite the oldest entries."""
        size = len(self.numbers)
        at = (torch.arange(len(numbers), device=numbers.device) + self.place) % size
        self.numbers[at], self.products[at] = numbers, products
        for name, code in codes.items():
            self.codes[name][at] = code.detach().float()
        self.place = (self.place + len(numbers) - 1) % size + 1

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint."""
        return {"numbers": self.numbers, "products": self.products, "place": torch.tensor(self.place), **self.codes}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """The reverse of `state_dict`."""
        device = self.numbers.device
        self.numbers, self.products = saved["numbers"].to(device), saved["products"].to(device)
        self.codes = {name: saved[name].to(device) for name in self.codes}
        self.place = int(saved["place"])
