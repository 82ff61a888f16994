"""The engine of batches that runs in executors of Spark: `engine.run` and `engine.components` (`flows.batch.job`).

Imports `flows.batch`. Only these modules import pyspark, and only when they run: it is an extra.
"""
