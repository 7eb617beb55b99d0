"""Fleet management: enrolment, signed config bundles, machine identity, remote diagnosis, monitor."""
