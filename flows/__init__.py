"""Prefect flows, the command line and the local stack. The only package that imports all the others."""
