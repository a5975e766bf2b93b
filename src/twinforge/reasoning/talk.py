"""Texts that go on behind states which were read once: more is read behind each, more is written, nothing is read twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from transformers import DynamicCache

from twinforge.errors import UserError
from twinforge.model.adapter import one_precision
from twinforge.model.answers import Model
from twinforge.model.base import longest
from twinforge.model.prompt import Prompt

Stop = Callable[[str], bool]


class Talk(Protocol):
    """A batch of texts, a row each. tokens : (rows,) read and written so far; seconds : (rows,) that they took."""

    tokens: np.ndarray
    seconds: np.ndarray

    def read(self, lines: Sequence[Sequence[int]]) -> None:
        """Read tokens behind each row; a row may get none."""
        ...

    def write(self, most: int, stop: Stop = lambda _: False, live: Sequence[bool] | None = None) -> list[str]:
        """Go on with each row (each that is `live`) to the end of the turn, to `most` tokens, or until `stop` says so of its new text."""
        ...


class Cached:
    """A model's `Talk` over its own key-value cache.

    Parameters
    ----------
    contexts : token ids of each state. of : (rows,) the state that each row goes on from: read once for all its rows, which share
        its tokens. temperature : 0 takes the likeliest token, else samples from the model's own distribution by `seed`.

    A pass's seconds go to the rows by the tokens that each had in it. Rows of unlike length leave gaps in the cache that nobody attends to, and
    positions count what is there, so each row is what it would be alone.

    Raises
    ------
    UserError
        A row gets longer than the model can read.
    """

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        contexts: Sequence[Sequence[int]],
        of: Sequence[int],
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._model, self._prompt, self._temperature = model, prompt, temperature
        self._draws = torch.Generator().manual_seed(seed)
        self._cache = DynamicCache()
        self._next = torch.zeros(
            len(contexts), 0
        )  # what each row's next token may be: logits, behind the last one read
        self._mask = torch.zeros((len(contexts), 0), dtype=torch.long)
        self.tokens, self.seconds = np.zeros(len(contexts)), np.zeros(len(contexts))
        self.read(contexts)
        rows = torch.as_tensor(of)
        share = np.bincount(of, minlength=len(contexts))[rows.numpy()]
        self._take(rows, share)

    def repeat(self, times: int) -> None:
        """Put `times` rows in place of each, side by side, which share what was read."""
        rows = torch.arange(len(self._mask)).repeat_interleave(times)
        self._take(rows, np.full(len(rows), times))

    def _take(self, rows: torch.Tensor, share: np.ndarray) -> None:
        self._cache.batch_select_indices(rows.to(self._model.device))
        self._mask, self._next = self._mask[rows], self._next[rows]
        self.tokens, self.seconds = self.tokens[rows.numpy()] / share, self.seconds[rows.numpy()] / share

    def read(self, lines: Sequence[Sequence[int]]) -> None:
        width = max(map(len, lines))
        end = self._prompt.tokenizer.eos_token_id
        ids = torch.tensor([[end] * (width - len(line)) + list(line) for line in lines])
        there = torch.tensor([[0] * (width - len(line)) + [1] * len(line) for line in lines])
        if width:
            self._pass(ids, there)

    def write(self, most: int, stop: Stop = lambda _: False, live: Sequence[bool] | None = None) -> list[str]:
        end, decode = self._prompt.tokenizer.eos_token_id, self._prompt.tokenizer.decode
        written: list[list[int]] = [[] for _ in self._mask]
        texts = [""] * len(written)
        going = torch.tensor([True] * len(written) if live is None else list(live))
        for _ in range(most):
            tokens = self._draw()
            going &= tokens != end
            for row in torch.nonzero(going)[:, 0].tolist():
                written[row].append(int(tokens[row]))
                texts[row] = decode(written[row], skip_special_tokens=True)
            if not going.any():
                break
            self._pass(tokens[:, None], going[:, None].long())
            going &= torch.tensor([not stop(text) for text in texts])
        return texts

    def _draw(self) -> torch.Tensor:
        if not self._temperature:
            return self._next.argmax(-1)
        p = torch.softmax(self._next / self._temperature, -1)
        return torch.multinomial(p, 1, generator=self._draws)[:, 0]

    def _pass(self, ids: torch.Tensor, there: torch.Tensor) -> None:
        start = time.perf_counter()
        self._mask = torch.cat([self._mask, there], 1)
        if (most := int(self._mask.sum(1).max())) > (limit := longest(self._model)):
            raise UserError(
                f"a state with what is thought about it has {most} tokens and the model reads {limit}; shorten the state"
            )
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        at = self._model.device
        with torch.inference_mode(), one_precision(self._model):
            read = self._model(
                input_ids=ids.to(at), attention_mask=self._mask.to(at), position_ids=positions.to(at), past_key_values=self._cache,
                use_cache=True, logits_to_keep=1,
            )  # fmt: skip
        self._next = read.logits[:, -1].float().cpu()
        count = there.sum(1).numpy()
        self.tokens = self.tokens + count
        self.seconds = self.seconds + (time.perf_counter() - start) * count / max(count.sum(), 1)
