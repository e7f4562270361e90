"""How much sooner two workers of a Dask cluster train, and how accurate the network is."""
