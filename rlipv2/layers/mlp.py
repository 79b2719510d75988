"""Multi-layer perceptron and the inverse of the sigmoid, as the box heads use them."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn


class MLP(nn.Sequential):
    """Linear layers with ReLU between them.

    >>> MLP(8, 16, 4, num_layers=3)(torch.zeros(2, 8)).shape
    torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, *, num_layers: int) -> None:
        widths = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        layers: list[nn.Module] = []
        for index, (in_width, out_width) in enumerate(pairwise(widths)):
            layers += [nn.ReLU()] * (index > 0) + [nn.Linear(in_width, out_width)]
        super().__init__(*layers)


def box_head(hidden_dim: int, *, size_bias: float = 0.0) -> MLP:
    """A head of three layers that starts as "no change": last layer 0, width and height shifted by `size_bias`.

    Official: models/hoi.py; only the first head of each list has the shift of -2 (docs/parity.md, Q19).
    """
    head = MLP(hidden_dim, hidden_dim, 4, num_layers=3)
    last = cast(nn.Linear, head[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    with torch.no_grad():
        last.bias[2:] = size_bias
    return head


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32, for what must not be rounded: positions in the image, boxes, logits.

    >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def inverse_sigmoid(probability: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of a probability, at least float32; both sides are kept at least `eps` away from 0.

    >>> inverse_sigmoid(torch.tensor([0.5]))
    tensor([0.])
    """
    probability = at_least_float32(probability).clamp(0, 1)
    return torch.log(probability.clamp(min=eps) / (1 - probability).clamp(min=eps))
