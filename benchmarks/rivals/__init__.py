"""One network through several programs' sliding windows, side by side (`benchmarks/inference.py`)."""
