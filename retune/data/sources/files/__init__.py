"""Files here and elsewhere: found, opened and unpacked."""
