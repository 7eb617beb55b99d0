"""One MQTT connection to a broker. Role-neutral: the terminal, the till kit and the doctor use it."""
