"""What a model is: its spec, the parts that its folder must have, and the catalog that finds the folders.

Imports `registry.cases`, `registry.vision` (names of media only) and `registry.core`.
"""
