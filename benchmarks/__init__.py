"""Speed beside named peers, measured in the same run on this machine: `make bench`."""
