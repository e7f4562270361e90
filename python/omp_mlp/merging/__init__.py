"""Merging networks: the table of methods, and those that see layers as matrices."""
