"""One call that proves a GPU: what tools/gpu_check.py runs, stage by stage, and writes down."""
