"""What the models of one task share: `classifier()`, `detector()`, `segmenter()`, their parts, networks and metrics.

Imported by models' folders, and by `training` and `monitoring` for types. Imports `registry.contract`,
`registry.cases`, `registry.vision` and `registry.core`; `registry.datasets` and frameworks only when asked for.
"""
