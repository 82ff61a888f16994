"""Readers of other people's boxes, a module for each format. None of them opens a picture.

Imports `registry.cases`, `registry.vision` and `registry.core`.
"""
