"""Video files: what they are, their frames as a player shows them, and WebM that browsers play.

Imports `registry.vision` and `registry.core`.
"""
