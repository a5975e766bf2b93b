"""Speed beside named peers (`make bench-train`, `bench-answer`, `bench-size`, `bench-accuracy`), and guarantees beside theirs (`bench-conformal`)."""
