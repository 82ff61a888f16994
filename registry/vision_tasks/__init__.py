"""What the models of one task share: `classifier()`, `detector()`, `segmenter()`, their parts, and networks by name.

Imported by models' folders, and by `training` and `monitoring` for types. Imports `registry.video`, `registry.boxes`,
`registry.contract`, `registry.vision` and `registry.core`; `registry.datasets` and frameworks only when asked for.
"""
