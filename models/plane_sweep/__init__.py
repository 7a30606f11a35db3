"""The plane sweep: its definition in plain PyTorch, and fused kernels for CPUs and for GPUs.

The environment variable `IMPLEMENTATION_VARIABLE` names one of `IMPLEMENTATIONS`; "auto" takes the device's kernels.
"""

IMPLEMENTATION_VARIABLE = "KDMVS_PLANE_SWEEP"
IMPLEMENTATIONS = ("auto", "plain", "streamed", "numba", "triton")

# Added to the squared norms that similarities are divided by: features that are zero are similar to none.
LEAST_NORM = 1e-6
