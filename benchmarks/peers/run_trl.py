"""Training by TRL's SFTTrainer on prompt and completion, with its own defaults but for LoRA's rank, targets and learning rate
(those of TRL's PEFT guide)."""

from __future__ import annotations

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from benchmarks.peers.steps import Steps
from benchmarks.peers.window import job, rows, windows


def main() -> None:
    told = job()
    chats = [
        {
            "prompt": [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["user"]}],
            "completion": [{"role": "assistant", "content": row["assistant"]}],
        }
        for row in rows(told["questions"])
    ]
    bf16 = told["precision"] == "bfloat16"
    arguments = SFTConfig(
        output_dir=told["out"], max_steps=1_000_000, per_device_train_batch_size=8, learning_rate=2e-4, bf16=bf16, use_cpu=True,
        max_length=None, save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no",
        model_init_kwargs={"dtype": told["precision"]},
    )  # fmt: skip
    trainer = SFTTrainer(
        model=told["base"],
        args=arguments,
        train_dataset=Dataset.from_list(chats),
        peft_config=LoraConfig(r=told["rank"], lora_alpha=2 * told["rank"], target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Steps(windows("trl", "transformers", "peft", "torch"))],
    )  # fmt: skip
    torch.manual_seed(0)
    trainer.train()


if __name__ == "__main__":
    main()
