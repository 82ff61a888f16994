"""Work that takes longer than a caller waits for: submitted, done in the background, fetched later."""
