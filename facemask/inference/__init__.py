"""What trained networks predict."""
