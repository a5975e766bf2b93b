"""One process a way of training or answering: each peer in its own environment, all worked by the same orders (window.py)."""
