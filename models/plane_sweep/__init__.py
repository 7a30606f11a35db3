"""The plane sweep: its definition in plain PyTorch, and fused kernels for CPUs and for GPUs."""
