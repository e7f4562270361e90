"""The benchmarks of omp_mlp: a folder for each question, and ``common`` for what all of them share.

Each folder is run from the project's root by its name, as in ``python -m benchmarks.paper``.
"""
