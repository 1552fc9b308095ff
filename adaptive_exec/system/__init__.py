"""What the operating system offers, put into functions; knows nothing of what we do with it."""
