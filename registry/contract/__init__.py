"""What a model is: its spec, the base classes of its parts and training hooks, and the catalog that finds the folders.

Imports `registry.cases`, `registry.vision` (names of media only) and `registry.core`.
"""
