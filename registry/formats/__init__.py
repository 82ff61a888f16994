"""Reads labels in the formats of the field, one module each. No reader decodes a picture, but `masks` its masks.

Imports `registry.cases`, `registry.vision` and `registry.core`.
"""
