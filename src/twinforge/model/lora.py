"""LoRA's linear layer (Hu et al. 2021) in fewer passes over memory: y = x Wᵀ + s (x Aᵀ) Bᵀ, with its gradient written out.

PEFT's own makes x Aᵀ Bᵀ a tensor of the size of y, scales it into another, and adds into a third; autograd does as much on the
way back. Here both products are added where the result already lies. Same parameters, same files: only the way there is shorter.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear
from torch import nn


class FusedLinear(Linear):
    """PEFT's layer with one active adapter computed by `_Fused`; in every other case (dropout, merged, off) PEFT's own way."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        name = self._plain_adapter()
        if name is None or args or kwargs:
            return super().forward(x, *args, **kwargs)
        base = self.get_base_layer()
        x = x.to(base.weight.dtype)
        down, up = (part[name].weight for part in (self.lora_A, self.lora_B))
        return _Fused.apply(x, base.weight, base.bias, down, up, self.scaling[name])

    def _plain_adapter(self) -> str | None:
        """Name of the only active adapter, if it is plain LoRA in use."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or len(active) != 1:
            return None
        (name,) = active
        dropped = self.training and not isinstance(self.lora_dropout[name], nn.Identity)
        odd = name in self.lora_variant or self.lora_B[name].bias is not None
        odd |= hasattr(self.lora_B[name].weight, "ds_id")  # in pieces: put together where each layer runs for itself
        return None if dropped or odd else name


class _Fused(torch.autograd.Function):
    """Shapes: x (..., in), weight (out, in), down = A (rank, in), up = B (out, rank). The frozen weight gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            flat = x.reshape(-1, x.shape[-1])
            a, b = down.to(x.dtype), up.to(x.dtype)
            low = flat @ a.T
            y = nn.functional.linear(flat, weight, bias).addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(flat, weight, low, a, b)
        ctx.scale, ctx.types = scale, (down.dtype, up.dtype)
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        flat, weight, low, a, b = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            received = grad.reshape(-1, grad.shape[-1])
            to_low = (received @ b).mul_(ctx.scale)
            to_x = None
            if ctx.needs_input_grad[0]:
                to_x = (received @ weight).addmm_(to_low, a).view(*grad.shape[:-1], -1)
            to_down = (to_low.T @ flat).to(ctx.types[0])
            to_up = (received.T @ low).mul_(ctx.scale).to(ctx.types[1])
        return to_x, None, None, to_down, to_up, None


def fused(config: LoraConfig, quantised: bool) -> LoraConfig:
    """`config`, told to put `FusedLinear` on plain linear layers (four-bit ones keep PEFT's own)."""
    if not quantised:
        config._register_custom_module({nn.Linear: FusedLinear})
    return config
