"""What ``benchmarks/accuracy.py`` is made of: the matrix of runs, their records, and what is made from them."""
