"""The fused layer is PEFT's: values and gradients, and PEFT's own way wherever it is not plain LoRA in use."""

import copy
from collections.abc import Iterator

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import nn

from twinforge.model.lora import FusedLinear, fused


class Net(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.first = nn.Linear(24, 40, bias=bias)
        self.second = nn.Linear(40, 8, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def adapted(dtype: torch.dtype, bias: bool, **options: object) -> Iterator[nn.Module]:
    """The same network with the same adapter: PEFT's layers, then ours."""
    torch.manual_seed(0)
    net = Net(bias).to(dtype)
    for wrap in (lambda config: config, lambda config: fused(config, quantised=False)):
        config = LoraConfig(r=4, lora_alpha=12.0, target_modules=["first", "second"], **options)
        model = get_peft_model(copy.deepcopy(net), wrap(config))
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora" in name:
                parameter.data = torch.randn(parameter.shape) * 0.3
        yield model.eval()


def run(model: nn.Module, x: torch.Tensor, bf16: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    x = x.clone().requires_grad_()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = model(x)
    y.float().pow(2).sum().backward()
    assert x.grad is not None
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return y.detach(), [x.grad, *(grads[name] for name in sorted(grads))]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
def test_values_and_gradients_are_pefts(bias: bool, bf16: bool) -> None:
    dtype = torch.bfloat16 if bf16 else torch.float32
    theirs, ours = adapted(dtype, bias)
    assert isinstance(ours.base_model.model.first, FusedLinear) and type(theirs.base_model.model.first) is Linear
    x = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float32).to(dtype)
    bound = 2e-2 if bf16 else 1e-5
    (y, grads), (expected, wanted) = run(ours, x, bf16), run(theirs, x, bf16)
    assert expected.float().std() > 0.1 and y.dtype == expected.dtype
    assert (y - expected).float().norm() <= bound * expected.float().norm()
    assert len(grads) == len(wanted) == 5
    for mine, other in zip(grads, wanted, strict=True):
        assert mine.dtype == other.dtype and other.float().norm() > 0
        assert (mine - other).float().norm() <= bound * other.float().norm()


def test_off_merged_or_with_dropout_it_is_pefts_own() -> None:
    theirs, ours = adapted(torch.float32, True, lora_dropout=0.5)
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(3))
    with theirs.disable_adapter(), ours.disable_adapter(), torch.no_grad():
        assert torch.equal(theirs(x), ours(x))
    results = []
    for model in (theirs.train(), ours.train()):
        torch.manual_seed(4)
        results.append(model(x))
    assert torch.equal(*results) and not torch.allclose(ours(x), ours(x))
    with torch.no_grad():
        before = ours.eval()(x)
        ours.merge_adapter()
        torch.testing.assert_close(ours(x), before, rtol=1e-4, atol=1e-5)


def test_four_bit_layers_keep_pefts_own() -> None:
    assert fused(LoraConfig(), quantised=True)._custom_modules is None
