"""Reads labels in the formats of the field, one module each. No reader decodes a picture.

Imports `registry.cases`, `registry.vision` and `registry.core`.
"""
