"""Depth maps to a mesh: a signed distance on blocks of voxels, its surface, colours, a texture (docs/method.md, 9)."""
