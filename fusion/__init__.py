"""Depth maps to one point cloud: the cross-view check, the built-in fuser, the fusibile wrapper, filters."""
