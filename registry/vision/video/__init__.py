"""Videos as files: what they are, their frames as a player would show them, and WebM that browsers play.

Imports `registry.vision` and `registry.core`.
"""
