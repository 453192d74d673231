"""fastact."""
