"""The conformance kit for tills: rules, and a broker proxy that tests them."""
