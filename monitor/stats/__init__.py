"""Statistics: numbers in, numbers out.

They write `import scipy` and call `scipy.special.ndtri(...)`: scipy loads its parts when they are first used, and
what computes none, such as intake, stays 50 MB smaller.
"""
