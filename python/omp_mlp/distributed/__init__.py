"""Trainings of several processes: the seam that transports such as MPI are put under."""
