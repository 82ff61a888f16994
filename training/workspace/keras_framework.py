"""The first import of TensorFlow and Keras in a process: quiet, and with repeatable results."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any


@functools.cache
def framework() -> tuple[Any, Any]:
    """(tensorflow, keras), with deterministic operations."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.suppress(ImportError):
        # TensorFlow and torch's compiler each bring an LLVM: after TensorFlow's, loading the other ends the process.
        import triton._C.libtriton  # noqa: F401
    with _silent_stderr():
        import keras
        import tensorflow

        tensorflow.config.list_physical_devices()  # looks for a GPU, with messages
    tensorflow.get_logger().setLevel("ERROR")
    tensorflow.config.experimental.enable_op_determinism()
    return tensorflow, keras


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """TensorFlow's C++ code writes to file descriptor 2 before it reads its log level. Errors are exceptions anyway."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
