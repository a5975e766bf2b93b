"""A tree's results are those of its paths run as separate sequences: values and gradients, for several families."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.tiny import FAMILIES, tiny_model
from twinforge.errors import UserError
from twinforge.model.tree import Branch, Tree, pack


def random_tree(rng: np.random.Generator, branches: int) -> Tree:
    made = []
    for _ in range(branches):
        n = int(rng.integers(1, 9))
        parents = np.array([rng.integers(max(-1, token - 2), token) for token in range(n)])
        made.append(Branch(rng.integers(0, 300, n), parents, rng.permutation(n)[: rng.integers(1, n + 1)]))
    return Tree(rng.integers(0, 300, rng.integers(1, 14)), tuple(made))


def alone(model: torch.nn.Module, trees: list[Tree]) -> torch.Tensor:
    """Next-token log-probabilities at each read, each path run as a sequence of its own."""
    rows = []
    for tree in trees:
        for branch in tree.branches:
            for read in branch.reads:
                path = [int(read)]
                while branch.parents[path[0]] >= 0:
                    path.insert(0, int(branch.parents[path[0]]))
                ids = torch.tensor(np.concatenate([tree.context, branch.ids[path]]))[None]
                rows.append(model(input_ids=ids).logits[0, -1])
    return torch.stack(rows).float().log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_separate_sequences_with_gradients(family: str) -> None:
    model, rng = tiny_model(family), np.random.default_rng(1)
    trees = [random_tree(rng, branches) for branches in (3, 1, 5)]
    together, apart = model(**pack(trees)).logits[0].log_softmax(-1), alone(model, trees)
    assert apart.std() > 0.1
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=0)
    grads = []
    for result in (together, apart):
        model.zero_grad()
        result[:, 7].sum().backward()
        grads.append([parameter.grad.clone() for parameter in model.parameters()])
    for ours, theirs in zip(*grads, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm() + 1e-7


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bf16_a_tree_is_as_near_to_separate_sequences_as_these_are_to_fp32(family: str) -> None:
    rng = np.random.default_rng(1)
    trees = [random_tree(rng, branches) for branches in (3, 1, 5, 4)]
    other = [Tree(np.array([(tree.context[0] + 1) % 300, *tree.context[1:]]), tree.branches) for tree in trees]
    with torch.no_grad():
        exact, model = alone(tiny_model(family), trees), tiny_model(family).bfloat16()
        together = model(**pack(trees)).logits[0].float().log_softmax(-1)
        apart, wrong = alone(model, trees), alone(model, other)
    off, rounding = (together - apart).abs(), (apart - exact).abs()
    assert 0 < off.max() < 0.25 and off.mean() < 0.025  # nats a token; the bound that docs/context-tree.md states
    assert off.mean() < 1.5 * rounding.mean()
    assert (together - wrong).abs().mean() > 0.1  # one token of the context is another


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_any_shape(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, int(rng.integers(1, 5))) for _ in range(count)]
    with torch.no_grad():
        together = MODEL(**pack(trees)).logits[0].log_softmax(-1)
        torch.testing.assert_close(together, alone(MODEL, trees), atol=1e-4, rtol=0)
        single = torch.cat([MODEL(**pack([tree])).logits[0].log_softmax(-1) for tree in trees])
    torch.testing.assert_close(together, single, atol=1e-5, rtol=0)


def test_a_branch_never_sees_its_sister() -> None:
    rng = np.random.default_rng(2)
    tree = random_tree(rng, 2)
    other = Tree(tree.context, (tree.branches[0], random_tree(rng, 1).branches[0]))
    reads = len(tree.branches[0].reads)
    with torch.no_grad():
        first, second = (MODEL(**pack([one])).logits[0, :reads] for one in (tree, other))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_a_changed_context_changes_every_branch() -> None:
    tree = random_tree(np.random.default_rng(3), 3)
    other = Tree(np.array([(tree.context[0] + 1) % 300, *tree.context[1:]]), tree.branches)
    with torch.no_grad():
        moved = (MODEL(**pack([tree])).logits[0] - MODEL(**pack([other])).logits[0]).abs().amax(-1)
    assert (moved > 1e-3).all()


def test_no_token_is_padding() -> None:
    trees = [random_tree(np.random.default_rng(4), branches) for branches in (1, 4)]
    assert pack(trees)["input_ids"].shape == (1, sum(tree.tokens for tree in trees))


def test_sliding_window_is_refused() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=300, sliding_window=4, num_key_value_heads=2, **shape)
    config._attn_implementation = "context_tree"
    with pytest.raises(UserError, match="context trees"):
        MistralForCausalLM(config)(**pack([random_tree(np.random.default_rng(5), 2)]))


MODEL = tiny_model()
