"""One folder per model: `SPEC` in `__init__.py`, `MODEL` in `model.py`; see registry/contract/parts.py."""
