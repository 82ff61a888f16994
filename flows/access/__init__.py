"""Commands about who may ask and what is kept of them: API keys, accounts, encryption.

The command line loads them by name. Imports options and packages below.
"""
