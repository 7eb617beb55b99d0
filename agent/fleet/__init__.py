"""A terminal as one of many: enrolment, signed config bundles, and whose machine a key belongs to."""
