"""Writing and reading a LoRA adapter in PEFT's format, with the tokenizer and the decision template beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel
from peft.helpers import disable_input_dtype_casting
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from twinforge.errors import UserError
from twinforge.files import replacing
from twinforge.model.lora import fused
from twinforge.model.prompt import Prompt


@contextmanager
def one_precision(model: Any) -> Iterator[None]:
    """Run an adapter's products in the base's bf16, the adapter's own weights staying in fp32; nothing for an fp32 base.

    PEFT would run them in fp32. Training and answering both go through here: what is scored is what was trained.
    """
    if isinstance(model, PeftModel) and model.dtype == torch.bfloat16:
        with disable_input_dtype_casting(model), torch.autocast(model.device.type, torch.bfloat16):
            yield
    else:
        yield


def whole(weights: Iterable[nn.Parameter]) -> AbstractContextManager[Any]:
    """Within, weights that DeepSpeed keeps in pieces (ZeRO-3) are there to read; every process must enter. Others always are."""
    pieces = [weight for weight in weights if hasattr(weight, "ds_id")]
    if not pieces:
        return nullcontext()
    import deepspeed

    return cast(AbstractContextManager[Any], deepspeed.zero.GatheredParameters(pieces))


def save_adapter(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, base: str, folder: Path, weights: Path | None = None
) -> None:
    """Write adapter, tokenizer and decision template to `folder`.

    base : its name as the recipe gives it. weights : file of the adapter, where the model's own are in pieces.
    """
    config = model.peft_config["default"]
    named, config.base_model_name_or_path = config.base_model_name_or_path, base
    try:
        with replacing(folder) as part:
            model.save_pretrained(part, save_embedding_layers=False)
            if weights:
                shutil.copyfile(weights, part / SAFETENSORS_WEIGHTS_NAME)
            (part / "README.md").unlink(missing_ok=True)  # the twin's card is written when it is packaged
            tokenizer.save_pretrained(part)
            Prompt.of(tokenizer).save(part)
    finally:
        config.base_model_name_or_path = named


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put the adapter of `folder` on a base model; it answers through both, in eval mode.

    Raises
    ------
    UserError
        There is no adapter there, it is broken, or it was made for another base.
    """
    if not (Path(folder) / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise UserError(f"{folder}: no {SAFETENSORS_WEIGHTS_NAME}; train first (`dvc repro`)")
    try:
        config = fused(LoraConfig.from_pretrained(str(folder)), getattr(model, "is_loaded_in_4bit", False))
        options: dict[str, Any] = {"is_trainable": False, "config": config}
        return PeftModel.from_pretrained(model, str(folder), **options).eval()
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder}: this adapter does not fit the base model ({error})".splitlines()[0]) from error
