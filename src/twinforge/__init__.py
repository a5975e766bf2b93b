"""twinforge makes an open LLM into the digital twin of a critical-infrastructure sector."""

import logging

__version__ = "0.1.0"

# bitsandbytes, which peft imports where it is installed, warns on a CPU that it lacks a kernel we don't use.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
