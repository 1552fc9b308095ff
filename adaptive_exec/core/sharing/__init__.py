"""What an instance may have beside others on the host, and what it tells them."""
