"""One MQTT connection, for terminal, till kit and doctor alike."""
