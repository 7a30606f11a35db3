"""Programs, and what they share: the training loop, prediction, distribution over ranks."""
