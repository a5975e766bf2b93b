"""Free text from a model: greedy or sampled, with what each token's probability and the spread of its alternatives were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from tqdm import tqdm

from twinforge.errors import UserError
from twinforge.files import kept
from twinforge.model.adapter import one_precision
from twinforge.model.answers import Model
from twinforge.model.base import longest
from twinforge.model.prompt import Prompt

WRITTEN = pa.schema(
    [
        ("prompt", pa.int64()),  # which of the prompts
        ("sample", pa.int64()),  # 0, 1, ... of this prompt
        ("text", pa.string()),
        ("starts", pa.list_(pa.int64())),  # of each token, the characters of the text before it
        ("logs", pa.list_(pa.float64())),  # log-probability of each token
        ("entropies", pa.list_(pa.float64())),  # nats, of the distribution each token was taken from
        ("tokens", pa.int64()),  # read and written
    ]
)


@dataclass(frozen=True)
class Style:
    """How to write.

    most : tokens at most. samples : texts a prompt. temperature : 0 always takes the likeliest token (one sample), 1 samples from
    the model's own distribution. seed : of the sampling. `logs` and `entropies` are those of the model's own distribution.
    """

    most: int
    samples: int = 1
    temperature: float = 0.0
    seed: int = 0


def write(
    model: Model,
    prompt: Prompt,
    asked: Sequence[Sequence[int]],
    style: Style,
    batch: int,
    label: str = "",
    keep: Path | None = None,
) -> pd.DataFrame:
    """Go on from each prompt to the end of the turn.

    Parameters
    ----------
    model : from `load_base`, with or without an adapter. asked : token ids of each prompt (`Prompt.context_ids`, `text_ids`).
    batch : texts a pass; prompts of like length go together. label : name on the progress bar; "" shows none.
    keep : folder for finished parts; a call that was cut off goes on from there. One folder for exactly one call.

    Returns
    -------
    `WRITTEN`, in the order of the prompts, the samples of each one after another.

    Raises
    ------
    UserError
        A prompt with its text is longer than the model can read, or a greedy text is asked for more than once.
    """
    _check(model, asked, style)
    order = sorted(range(len(asked)), key=lambda i: -len(asked[i]))
    size = max(1, batch // style.samples)
    parts = []
    with tqdm(total=len(asked) * style.samples, desc=label, unit="text", disable=not label) as bar:
        for number, start in enumerate(range(0, len(order), size)):
            path, chosen = keep / f"{number:05}.parquet" if keep else None, order[start : start + size]
            parts.append(kept(path, WRITTEN, partial(_part, model, prompt, asked, chosen, style, number)))
            bar.update(len(parts[-1]))
    return pd.concat(parts or [pd.DataFrame(columns=WRITTEN.names)]).sort_values(
        ["prompt", "sample"], ignore_index=True
    )


def _check(model: Model, asked: Sequence[Sequence[int]], style: Style) -> None:
    limit, most = longest(model), max(map(len, asked), default=0)
    if most + style.most > limit:
        raise UserError(
            f"a prompt of {most} tokens and {style.most} of text: the model reads {limit}; shorten the state"
        )
    if style.samples > 1 and not style.temperature:
        raise UserError(f"{style.samples} samples at temperature 0 would all be the same; give a temperature")


def _part(
    model: Model, prompt: Prompt, asked: Sequence[Sequence[int]], chosen: Sequence[int], style: Style, number: int
) -> pd.DataFrame:
    end, width = prompt.tokenizer.eos_token_id, len(asked[chosen[0]])
    ids = torch.tensor([[end] * (width - len(asked[i])) + list(asked[i]) for i in chosen], device=model.device)
    seen = torch.tensor([[0] * (width - len(asked[i])) + [1] * len(asked[i]) for i in chosen], device=model.device)
    drawn = {"do_sample": True, "temperature": style.temperature, "top_k": 0} if style.temperature else {}
    torch.manual_seed(style.seed + number)
    with torch.inference_mode(), one_precision(model):
        made = model.generate(
            input_ids=ids, attention_mask=seen, max_new_tokens=style.most, num_return_sequences=style.samples,
            eos_token_id=end, pad_token_id=end, use_cache=True, return_dict_in_generate=True, output_logits=True,
            **(drawn or {"do_sample": False}),
        )  # fmt: skip
    tokens = made.sequences[:, width:].cpu()
    logs, entropies = _told(made.logits, tokens)
    rows = []
    for row, line in enumerate(tokens.tolist()):
        n = line.index(end) if end in line else len(line)
        text, starts = _text(prompt, line[:n])
        i, sample = chosen[row // style.samples], row % style.samples
        rows.append((i, sample, text, starts, logs[row, :n].tolist(), entropies[row, :n].tolist(), len(asked[i]) + n))
    return pd.DataFrame(rows, columns=WRITTEN.names)


def _told(logits: Sequence[torch.Tensor], tokens: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability of each token, and entropy of what it was taken from, both (texts, tokens)."""
    logs, entropies = [], []
    for step, each in enumerate(logits):
        log = torch.log_softmax(each.float().cpu(), dim=-1)
        logs.append(log.gather(1, tokens[:, step : step + 1])[:, 0])
        entropies.append(-(log.exp() * log).nan_to_num().sum(-1))
    return torch.stack(logs, 1).numpy(), torch.stack(entropies, 1).numpy()


def _text(prompt: Prompt, tokens: Sequence[int]) -> tuple[str, list[int]]:
    """The tokens as text, and how many characters stand before each."""
    decode = prompt.tokenizer.decode
    starts = [len(decode(tokens[:i], skip_special_tokens=True)) for i in range(len(tokens))]
    return decode(tokens, skip_special_tokens=True), starts
