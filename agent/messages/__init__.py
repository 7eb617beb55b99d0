"""The till contract as bytes: topics, decoding, encoding, signatures. Opens no connection."""
