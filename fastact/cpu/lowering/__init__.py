"""A graph as LLVM instructions: words, vectors, the loop around them."""
