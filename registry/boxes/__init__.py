"""Boxes in pictures: what a detector found, what is true, and average precision between the two.

Imports `registry.contract`, `registry.cases`, `registry.vision` and `registry.core`.
"""
