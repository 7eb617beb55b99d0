"""A load generator for a broker, with thousands of simulated connections."""
