"""cordon."""
