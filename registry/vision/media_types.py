"""Content types and file endings of pictures and videos. Imports nothing, as every model's `SPEC` is read at the start
of every command."""

from __future__ import annotations

RAW = "application/octet-stream"
"""A program that does not know: the decoder finds out."""

PICTURE_IN = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif")
PICTURE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

VIDEO_IN = (
    "video/mp4",
    "video/webm",
    "video/x-matroska",
    "video/quicktime",
    "video/x-msvideo",
    "video/mpeg",
    "video/mp2t",
    "video/3gpp",
    "video/ogg",
    "video/x-flv",
    "video/x-ms-wmv",
)
VIDEO_EXTENSIONS = (
    ".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".3gp", ".ogv", ".flv", ".wmv"
)  # fmt: skip
VIDEO_OUT = "video/webm"

DETECTOR_IN = (*PICTURE_IN, *VIDEO_IN, RAW)
DETECTOR_EXTENSIONS = (*PICTURE_EXTENSIONS, *VIDEO_EXTENSIONS)
DETECTOR_OUT = ("application/json", "image/jpeg", VIDEO_OUT)
