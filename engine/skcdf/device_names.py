"""Names of devices and precisions; apart from `device`, so that the command line's help needs no torch."""

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
