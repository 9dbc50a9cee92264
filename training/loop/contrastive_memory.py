"""What a contrastive loss remembers of earlier batches."""

from __future__ import annotations

import torch
from torch import Tensor


class Memory:
    """The codes of the last `size` weak views, with photo number and product (cross-batch memory, Wang et al. 2020).

    Attributes:
        numbers: `int64 [size]`, −1 in entries that are still empty.
        products: `int64 [size]`, −1 for no product.
        codes: `float32 [size, width]`.
    """

    def __init__(self, size: int, width: int, device: torch.device | None = None) -> None:
        self.numbers = torch.full((size,), -1, dtype=torch.int64, device=device)
        self.products = torch.full((size,), -1, dtype=torch.int64, device=device)
        self.codes = torch.zeros(size, width, device=device)
        self.place = 0

    def same(self, numbers: Tensor, products: Tensor) -> Tensor:
        """`bool [n, size]`: entries of the same photo or product as the photos `numbers [n]`, and empty entries."""
        alike = (numbers[:, None] == self.numbers[None]) | (products[:, None] == self.products[None]) & (
            products[:, None] >= 0
        )
        return alike | (self.numbers[None] < 0)

    def add(self, numbers: Tensor, products: Tensor, codes: Tensor) -> None:
        """Overwrite the oldest entries with these photos: `numbers int64 [n]`, `products int64 [n]` and `codes`, any
        float type `[n, width]`."""
        size = len(self.numbers)
        at = (torch.arange(len(numbers), device=numbers.device) + self.place) % size
        self.numbers[at], self.products[at] = numbers, products
        self.codes[at] = codes.detach().float()
        self.place = (self.place + len(numbers) - 1) % size + 1

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors for a checkpoint: `numbers` and `products` `int64 [size]`, `codes float32 [size, width]`, and
        `place`, a scalar."""
        place = torch.tensor(self.place)
        return {"numbers": self.numbers, "products": self.products, "codes": self.codes, "place": place}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Restore the entries from the tensors of `state_dict`, with the same shapes and dtypes."""
        # copies: two memories may be loaded from one that an earlier version kept for both
        self.numbers.copy_(saved["numbers"])
        self.products.copy_(saved["products"])
        self.codes.copy_(saved["codes"])
        self.place = int(saved["place"])
