"""One folder per model; see registry/parts.py for what a folder holds."""
