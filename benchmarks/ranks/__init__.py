"""Trainings of several ranks over MPI on one machine, beside trainings of one process."""
