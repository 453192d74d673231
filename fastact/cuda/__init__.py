"""The kernels on CUDA devices. All that imports ``numba.cuda`` stands in this room; it is entered when a device array
arrives or when a device function is asked for."""
