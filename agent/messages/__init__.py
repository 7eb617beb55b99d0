"""The till contract as bytes: topics, decoding, encoding, signatures. No connection."""
