"""The doctor, the privacy audit and the support bundle: faults and files of a terminal, for an engineer."""
