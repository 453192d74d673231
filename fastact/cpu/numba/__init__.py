"""What Numba users load: the front door's objects inside Numba's compiled code."""
