"""What a model is, and which version of it is live. Imports no other package of this project."""
