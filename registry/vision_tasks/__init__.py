"""What the models of one task share: classification and detection, their training hooks and their metrics.

Imported by models' folders, and by `training` and `monitoring` for types. Imports `registry.cases`, `registry.vision`
and `registry.core`.
"""
