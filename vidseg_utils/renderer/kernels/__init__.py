"""Loops over pixels, compiled to machine code by numba. Import its modules only where they are called: it takes time.

Vectors are tuples of x, y, z or of red, green, blue.
"""
