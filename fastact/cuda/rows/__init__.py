"""Programs over rows on CUDA devices."""
