"""What tools/benchmark.py measures: each module one part of the project."""
