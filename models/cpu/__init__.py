"""What makes a CPU fast: vectors and kernels in numba, threads beside torch."""
