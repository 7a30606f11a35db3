"""Scores of depth maps, clouds and checkpoints."""
