"""The last layer's feed-forward part runs on the tokens that are read, and only in passes over trees."""

import numpy as np
import torch

from tests.model.test_tree import random_tree
from tests.model.tiny import tiny_model
from twinforge.model.reads import only_reads
from twinforge.model.tree import pack


def test_only_tokens_that_are_read_go_through_the_last_layer() -> None:
    model, seen = tiny_model(), []
    model.model.layers[-1].mlp.gate_proj.register_forward_hook(lambda module, args, made: seen.append(args[0].shape[1]))
    packed = pack([random_tree(np.random.default_rng(1), 4)])
    tokens, reads = packed["input_ids"].shape[1], len(packed["logits_to_keep"])
    assert 0 < reads < tokens
    with torch.no_grad():
        model(**packed)
        plain = model(input_ids=packed["input_ids"]).logits
    assert seen == [reads, tokens] and plain.shape[1] == tokens


def test_an_architecture_without_such_a_part_is_left_alone() -> None:
    model = tiny_model()
    model.get_decoder().layers = torch.nn.ModuleList([torch.nn.Identity()])
    only_reads(model)
    assert not model.get_decoder().layers[-1]._forward_pre_hooks
