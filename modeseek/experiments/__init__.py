"""Experiments: one file each, every row with its expected value beside it."""
