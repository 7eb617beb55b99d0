"""Fleet management: enrolment, signed config bundles, remote diagnosis, and the identity of the machine."""
