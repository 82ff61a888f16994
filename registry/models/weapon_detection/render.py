"""Boxes with class and score, drawn over pictures and into videos."""

from __future__ import annotations

from registry.vision_tasks.clips import FORMATS, picture

__all__ = ["FORMATS", "picture"]
