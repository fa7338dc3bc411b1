"""What the judge says of a kernel against itself, and against itself slowed down by a known amount."""
