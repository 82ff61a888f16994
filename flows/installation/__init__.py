"""An installation as a whole: backup, restore, and the move of its operational database to another engine.

`tables` copies the operational database row by row, `mlflow_tables` that of MLflow, `archive` writes and reads a tar
or a folder with a manifest. `backup`, `restore` and `moving` do what the commands of the same names say.

Imports `flows.stack`, and of serving the configuration of the web application, whose tables are the database's, too.
"""
