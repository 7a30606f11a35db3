"""Photos with known poses: straightening, view selection, depth ranges."""
