"""One folder per model: `SPEC` in `__init__.py`, `MODEL` in `model.py`; see registry/contract/parts.py.

A model imports `registry.vision_tasks` and the rooms below it, never another model.
"""
