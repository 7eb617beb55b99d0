"""Load tests of a broker with thousands of simulated connections."""
