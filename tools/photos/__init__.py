"""From photos to a scan, and on to other programs."""
