"""Training by LLaMA-Factory, with the settings of its example `examples/train_lora/qwen3_lora_sft.yaml`.

Other than there: LoRA's rank and the number format are given, the processor is the CPU, no worker processes are started for two
cores, and nothing is cut off before 4,096 tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llamafactory.train.tuner import run_exp

from benchmarks.peers.steps import Steps
from benchmarks.peers.window import job, rows, windows


def settings(told: dict[str, Any]) -> dict[str, Any]:
    """What LLaMA-Factory is given; its data lie in `told["out"]`."""
    return {
        "model_name_or_path": told["base"], "trust_remote_code": False, "template": "smollm2",
        "stage": "sft", "do_train": True, "finetuning_type": "lora", "lora_rank": told["rank"], "lora_target": "all",
        "dataset": "questions", "dataset_dir": told["out"], "cutoff_len": 4096, "overwrite_cache": True,
        "preprocessing_num_workers": 1, "dataloader_num_workers": 0,
        "output_dir": told["out"] + "/run", "logging_steps": 10, "report_to": "none", "plot_loss": False,
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "learning_rate": 1e-4, "num_train_epochs": 3.0,
        "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "bf16": told["precision"] == "bfloat16", "use_cpu": True,
    }  # fmt: skip


def write_data(told: dict[str, Any]) -> None:
    """The questions in LLaMA-Factory's own format, with the file that describes them."""
    out = Path(told["out"])
    out.mkdir(parents=True, exist_ok=True)
    columns = {"system": "system", "prompt": "user", "response": "assistant"}
    kept = [{name: row[name] for name in columns.values()} for row in rows(told["questions"])]
    (out / "questions.json").write_text(json.dumps(kept), encoding="utf-8")
    described = {"questions": {"file_name": "questions.json", "columns": columns}}
    (out / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")


def main() -> None:
    told = job()
    write_data(told)
    endless = {"max_steps": 1_000_000, "save_strategy": "no", "overwrite_output_dir": True}
    run_exp(
        {**settings(told), **endless},
        [Steps(windows("llamafactory", "transformers", "peft", "torch"))],
    )


if __name__ == "__main__":
    main()
