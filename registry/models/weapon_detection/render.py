"""Boxes with class and score, drawn over pictures and into videos."""

from __future__ import annotations

from registry.vision.clips import FORMATS, picture

__all__ = ["FORMATS", "picture"]
