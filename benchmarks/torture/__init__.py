"""Break omp_mlp on purpose: damaged files, kills, interrupts, limits, forks, failed allocations."""
