"""The conformance kit for tills: the acceptance rules, and the scenarios that test them over MQTT."""
