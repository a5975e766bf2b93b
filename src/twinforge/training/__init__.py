"""Training: experts beside the language model, and adapters."""
