"""Features and predictions of many files: a listing is cut into slices, and each slice becomes one part of Parquet.

`slices.process_slice` does all the work on one slice. An engine runs it over a plan: `local` in threads of this
process, `flows.spark` in the executors of Spark. `run.run` is what the commands call.

Imports no other room of this package.
"""
