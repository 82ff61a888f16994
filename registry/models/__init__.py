"""One folder per model; see registry/contract/parts.py for what a folder holds."""
