"""Depth maps: from a network, refined, or by a plain plane sweep."""
