"""What memory allows: marks, windows, reserves by size, walls, the brake, and workers that go."""
