"""What the router answers itself: predictions, feedback, usage, and one document of it all."""
