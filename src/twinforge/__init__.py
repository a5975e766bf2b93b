"""twinforge makes an open LLM into the digital twin of a critical-infrastructure sector."""

__version__ = "0.1.0"
