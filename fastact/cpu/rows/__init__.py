"""Programs over rows on the CPU: their kernels as LLVM IR, and calls of them."""
